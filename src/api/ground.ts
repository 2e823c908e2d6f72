/** What a program around the library needs of its ground: the file system to provide, and the border between promises and Effects. */
export { shell } from "../checkpoint/shell.ts"
export { attempt } from "../io/attempt.ts"
export { Disk, type DiskError, diskError } from "../io/Disk.ts"
export { errnoOf } from "../io/errno.ts"
export { RemembersIo } from "../io/RemembersIo.ts"
export { Remote, type RemoteOptions } from "../remote/RemoteOptions.ts"
export { trafficInUse } from "../remote/storeInUse.ts"
export { type Traffic } from "../remote/http/Client.ts"
