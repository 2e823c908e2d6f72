/** Debian's Chromium, headless, driven over its debugging port: pages are opened from files and asked what they show. */
import { spawn, spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

export const installed = spawnSync("chromium", ["--version"]).status === 0

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0"
]

type Message = { readonly id?: number; readonly method?: string; readonly sessionId?: string; readonly params?: Record<string, unknown>; readonly result?: unknown; readonly error?: { readonly message: string } }

export interface View {
  readonly width: number
  readonly height: number
  readonly scheme?: "light" | "dark"
  readonly media?: "screen" | "print"
}

/** One tab. */
export class Tab {
  /** Errors, warnings and exceptions, and whatever the page asked for that is not the page. */
  readonly complaints: Array<string> = []
  readonly #send: (method: string, params?: object) => Promise<unknown>

  constructor(send: (method: string, params?: object) => Promise<unknown>) {
    this.#send = send
  }

  async view({ height, media = "screen", scheme = "light", width }: View): Promise<void> {
    await this.#send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false })
    await this.#send("Emulation.setEmulatedMedia", { media, features: [{ name: "prefers-color-scheme", value: scheme }] })
  }

  /** Open a file; milliseconds until its script has run and it was drawn. */
  async open(file: string): Promise<number> {
    const started = performance.now()
    await this.run("window.passed = true")
    const { errorText } = await this.#send("Page.navigate", { url: pathToFileURL(file).href }) as { errorText?: string }
    if (errorText !== undefined) throw new Error(`${file}: ${errorText}`)
    const drawn = () => this.run<boolean>("!window.passed && document.readyState === 'complete' && location.protocol === 'file:'").catch(() => false)
    while (!(await drawn())) await new Promise((resolve) => setTimeout(resolve, 20))
    await this.run("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    return performance.now() - started
  }

  async run<A>(expression: string): Promise<A> {
    const answer = await this.#send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }) as { result: { value: A }; exceptionDetails?: { text: string; exception?: { description?: string } } }
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text)
    return answer.result.value
  }

  async press(key: string): Promise<void> {
    const code = { Enter: 13, Tab: 9, ArrowRight: 39, ArrowDown: 40, ArrowLeft: 37, ArrowUp: 38, Home: 36, End: 35, PageDown: 34 }[key] ?? 0
    for (const type of ["keyDown", "keyUp"]) await this.#send("Input.dispatchKeyEvent", { type, key, code: key, windowsVirtualKeyCode: code })
  }

  /** PNG of the view. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.#send("Page.captureScreenshot", { format: "png" }) as { data: string }
    return Buffer.from(data, "base64")
  }

  /** The page as it would be printed. */
  async pdf(): Promise<Buffer> {
    const { data } = await this.#send("Page.printToPDF", { preferCSSPageSize: true }) as { data: string }
    return Buffer.from(data, "base64")
  }
}

const PATIENCE_MS = 60_000

export interface Browser {
  readonly tab: Tab
  readonly close: () => Promise<void>
}

/** Start a browser with one tab. */
export const launch = async (): Promise<Browser> => {
  const profile = mkdtempSync(join(tmpdir(), "chromium-"))
  const browser = spawn("chromium", [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] })
  const ended = new Promise<void>((resolve) => browser.once("exit", () => resolve()))
  const address = await new Promise<string>((resolve, reject) => {
    let text = ""
    browser.stderr.on("data", (chunk: Buffer) => {
      text += chunk
      const found = /DevTools listening on (ws:\S+)/.exec(text)
      if (found) resolve(found[1]!)
    })
    void ended.then(() => reject(new Error(`chromium ended: ${text}`)))
    setTimeout(() => reject(new Error(`chromium does not answer: ${text}`)), PATIENCE_MS).unref()
  })
  const socket = new WebSocket(address)
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject })
  const waiting = new Map<number, (message: Message) => void>()
  const listeners: Array<(message: Message) => void> = []
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(String(data)) as Message
    if (message.id === undefined) for (const listener of listeners) listener(message)
    else waiting.get(message.id)?.(message)
  }
  let last = 0
  const send = (sessionId: string | undefined) => (method: string, params: object = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = ++last
      waiting.set(id, ({ error, result }) => { waiting.delete(id); if (error) reject(new Error(`${method}: ${error.message}`)); else resolve(result) })
      socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }))
    })
  const { targetId } = await send(undefined)("Target.createTarget", { url: "about:blank" }) as { targetId: string }
  const { sessionId } = await send(undefined)("Target.attachToTarget", { targetId, flatten: true }) as { sessionId: string }
  const tab = new Tab(send(sessionId))
  listeners.push(({ method, params }) => {
    if (method === "Runtime.exceptionThrown" || method === "Runtime.consoleAPICalled" || method === "Log.entryAdded") tab.complaints.push(JSON.stringify(params))
    if (method === "Network.requestWillBeSent") {
      const { request: { url } } = params as { request: { url: string } }
      if (!url.startsWith("file:") && url !== "about:blank") tab.complaints.push(`asks for ${url}`)
    }
  })
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(sessionId)(`${domain}.enable`)
  return {
    tab,
    close: async () => {
      socket.close()
      browser.kill()
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}
