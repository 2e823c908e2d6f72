/*
 * Makes one call of the C library fail, below the runtime: LD_PRELOAD this and name, by FAULT_ROOT, the directory below which calls
 * count. Opening a path below /.faults/ gives an order and always fails with ENOENT:
 *
 *   /.faults/arm/OP/K/ERRNO/LASTING   the K-th (from 0) call of that kind from now on fails so; LASTING: every one after it as well.
 *                                     Of transfers, ERRNO 0 makes it short: half of its bytes, at least one.
 *   /.faults/report                   write the calls counted since, `OP COUNT` a line, to the file FAULT_REPORT; count from 0 again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { OPEN, READ, WRITE, FSYNC, CLOSE, STAT, LIST, REALPATH, RENAME, LINK, UNLINK, RMDIR, MKDIR, TRUNCATE, STATFS, OPS };
static const char *const names[OPS] = {
  "open", "read", "write", "fsync", "close", "stat", "list", "realpath", "rename", "link", "unlink", "rmdir", "mkdir", "truncate", "statfs"
};

#define MOST_FDS 65536
static unsigned char watched[MOST_FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counts[OPS];
static int armed = -1, lasting, fault;
static long at;

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int below(const char *path) {
  const char *root = getenv("FAULT_ROOT");
  size_t n = root ? strlen(root) : 0;
  return n > 0 && path && strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int known(int fd) { return fd >= 0 && fd < MOST_FDS && watched[fd]; }

/* Counts a call; 1 if it is to fail, with errno in *code (0: short). */
static int hit(enum op op, int *code) {
  pthread_mutex_lock(&lock);
  long n = counts[op]++;
  int now = armed == (int)op && (n == at || (lasting && n > at));
  *code = fault;
  pthread_mutex_unlock(&lock);
  return now;
}

static void order(const char *text) {
  char op[16];
  long k;
  int code, more;
  pthread_mutex_lock(&lock);
  if (sscanf(text, "arm/%15[a-z]/%ld/%d/%d", op, &k, &code, &more) == 4) {
    armed = -1;
    for (int i = 0; i < OPS; i++) if (strcmp(names[i], op) == 0) armed = i;
    at = k, fault = code, lasting = more;
  } else if (strcmp(text, "report") == 0 && getenv("FAULT_REPORT")) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, getenv("FAULT_REPORT"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; fd >= 0 && i < OPS; i++) dprintf(fd, "%s %ld\n", names[i], counts[i]);
    if (fd >= 0) syscall(SYS_close, fd);
    armed = -1;
  }
  memset(counts, 0, sizeof counts);
  pthread_mutex_unlock(&lock);
}

static int opened(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
  int code;
  if (path && strncmp(path, "/.faults/", 9) == 0) return order(path + 9), errno = ENOENT, -1;
  int ours = below(path);
  if (ours && hit(OPEN, &code)) return errno = code ? code : EIO, -1;
  int fd = real(path, flags, mode);
  if (fd >= 0 && fd < MOST_FDS) watched[fd] = (unsigned char)ours;
  return fd;
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); mode = va_arg(a, mode_t); va_end(a); }

int open(const char *path, int flags, ...) { REAL(open); MODE(flags); return opened(real, path, flags, mode); }
int open64(const char *path, int flags, ...) { REAL(open64); MODE(flags); return opened(real, path, flags, mode); }

#define TRANSFER(op, call, n) \
  int code; \
  if (known(fd) && hit(op, &code)) { \
    if (code) return errno = code, -1; \
    if ((n) > 1) (n) /= 2; \
  } \
  return call

ssize_t read(int fd, void *to, size_t n) { REAL(read); TRANSFER(READ, real(fd, to, n), n); }
ssize_t pread(int fd, void *to, size_t n, off_t p) { REAL(pread); TRANSFER(READ, real(fd, to, n, p), n); }
ssize_t pread64(int fd, void *to, size_t n, off64_t p) { REAL(pread64); TRANSFER(READ, real(fd, to, n, p), n); }
ssize_t write(int fd, const void *from, size_t n) { REAL(write); TRANSFER(WRITE, real(fd, from, n), n); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t p) { REAL(pwrite); TRANSFER(WRITE, real(fd, from, n, p), n); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t p) { REAL(pwrite64); TRANSFER(WRITE, real(fd, from, n, p), n); }

#define ON_FD(op, call) int code; if (known(fd) && hit(op, &code)) return errno = code ? code : EIO, -1; return call
int fsync(int fd) { REAL(fsync); ON_FD(FSYNC, real(fd)); }
int fdatasync(int fd) { REAL(fdatasync); ON_FD(FSYNC, real(fd)); }
int ftruncate(int fd, off_t n) { REAL(ftruncate); ON_FD(TRUNCATE, real(fd, n)); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); ON_FD(TRUNCATE, real(fd, n)); }

/* A close that fails has closed the file all the same (close(2)). */
static int closed(int fd, int result) {
  int code, ours = known(fd);
  if (fd >= 0 && fd < MOST_FDS) watched[fd] = 0;
  if (ours && hit(CLOSE, &code)) return errno = code ? code : EIO, -1;
  return result;
}
int close(int fd) { REAL(close); int ours = known(fd), r = real(fd); return ours ? closed(fd, r) : r; }

#define ON_PATH(op, path, call) int code; if (below(path) && hit(op, &code)) return errno = code ? code : EIO, -1; return call
int rename(const char *from, const char *to) { REAL(rename); ON_PATH(RENAME, to, real(from, to)); }
int link(const char *from, const char *to) { REAL(link); ON_PATH(LINK, to, real(from, to)); }
int unlink(const char *path) { REAL(unlink); ON_PATH(UNLINK, path, real(path)); }
int rmdir(const char *path) { REAL(rmdir); ON_PATH(RMDIR, path, real(path)); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); ON_PATH(MKDIR, path, real(path, mode)); }
int statfs64(const char *path, struct statfs64 *s) { REAL(statfs64); ON_PATH(STATFS, path, real(path, s)); }
int scandir64(const char *path, struct dirent64 ***list, int (*filter)(const struct dirent64 *), int (*order)(const struct dirent64 **, const struct dirent64 **)) {
  REAL(scandir64);
  ON_PATH(LIST, path, real(path, list, filter, order));
}
char *realpath(const char *path, char *resolved) {
  REAL(realpath);
  int code;
  if (below(path) && hit(REALPATH, &code)) return errno = code ? code : EIO, NULL;
  return real(path, resolved);
}

/* libuv asks for statx, and on some platforms for close, by number. */
long syscall(long number, ...) {
  static long (*real)(long, ...);
  if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  va_list a;
  va_start(a, number);
  long x[6];
  for (int i = 0; i < 6; i++) x[i] = va_arg(a, long);
  va_end(a);
  int code;
#ifdef SYS_statx
  if (number == SYS_statx) {
    const char *path = (const char *)x[1];
    int ours = path && path[0] ? below(path) : known((int)x[0]);
    if (ours && hit(STAT, &code)) return errno = code ? code : EIO, -1;
  }
#endif
  int fd = (int)x[0], ours = number == SYS_close && known(fd);
  long result = real(number, x[0], x[1], x[2], x[3], x[4], x[5]);
  return ours ? closed(fd, (int)result) : result;
}
