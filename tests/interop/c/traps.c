/* What PORTING.md says of the C calls, asked of the kernel: `traps FOLDER`. It takes root, for an IPC namespace of its
   own, in which all keys are free and nothing outlives it; exit code 77 without. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define KEY    0x7a7a0001
#define NOBODY 65534
#define PAGE   sysconf(_SC_PAGESIZE)

static int wrong;

#define HOLDS(fact)                                                  \
    do {                                                             \
        if (!(fact)) {                                               \
            printf("line %d does not hold: %s\n", __LINE__, #fact);  \
            wrong = 1;                                               \
        }                                                            \
    } while (0)
#define FAILS(call, code)                                                              \
    do {                                                                               \
        errno = 0;                                                                     \
        if ((intptr_t)(call) != -1 || errno != (code)) {                               \
            printf("line %d: %s is errno %d, not " #code "\n", __LINE__, #call, errno); \
            wrong = 1;                                                                 \
        }                                                                              \
    } while (0)

static struct shmid_ds stat_of(int id)
{
    struct shmid_ds ds;

    memset(&ds, 0, sizeof(ds));
    HOLDS(shmctl(id, IPC_STAT, &ds) == 0);
    return ds;
}

static int mode_of(int id)
{
    return stat_of(id).shm_perm.mode;
}

/* Runs as nobody, in a process of its own. */
static void as_nobody(void (*act)(int), int argument)
{
    int status = 1;

    fflush(stdout);
    if (fork() == 0) {
        wrong = setgroups(0, NULL) == -1 || setgid(NOBODY) == -1 || setuid(NOBODY) == -1;
        act(argument);
        fflush(stdout);
        _exit(wrong);
    }
    wait(&status);
    wrong |= status;
}

static void make(const char *file)
{
    FILE *made = fopen(file, "w");

    if (made == NULL || fclose(made) == EOF) {
        perror(file);
        exit(1);
    }
}

static void keys(const char *folder)
{
    char file[512], other[516];
    int  id;

    snprintf(file, sizeof(file), "%s/traps-%ld", folder, (long)getpid());
    snprintf(other, sizeof(other), "%s.new", file);
    FAILS(ftok(file, 'A'), ENOENT);
    id = shmget(ftok(file, 'A'), 100, IPC_CREAT | 0600);
    HOLDS(id != -1 && (uint32_t)stat_of(id).shm_perm.__key == 0xffffffff);
    HOLDS(shmget(ftok("/another/missing/file", 'Z'), 100, IPC_CREAT | 0600) == id);
    HOLDS(ftok("/", 1) == ftok("/", 257) && ftok("/", 0) != -1);

    make(file);
    make(other);
    key_t before = ftok(file, 'A');
    HOLDS(rename(other, file) == 0 && ftok(file, 'A') != before);
    unlink(file);
}

static void get_as_nobody(int id)
{
    HOLDS(shmget(KEY, 0, 0) == id);
    FAILS(shmget(KEY, 0, 0400), EACCES);
    FAILS(shmget(KEY, 100, IPC_CREAT | 0600), EACCES);
    FAILS(shmget(KEY, 1000, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    FAILS(shmat(id, NULL, 0), EACCES);
    FAILS(shmctl(id, IPC_RMID, NULL), EPERM);
    FAILS(shmctl(id, SHM_LOCK, NULL), EPERM);
    FAILS(shmctl(id, SHM_UNLOCK, NULL), EPERM);
    struct shmid_ds ds;
    FAILS(shmctl(id, IPC_STAT, &ds), EACCES);
    memset(&ds, 0, sizeof(ds));
    FAILS(shmctl(id, IPC_SET, &ds), EPERM);

    /* One's own. */
    int closed = shmget(IPC_PRIVATE, 100, 0);
    FAILS(shmat(closed, NULL, 0), EACCES);
    FAILS(shmctl(closed, IPC_STAT, &ds), EACCES);
    HOLDS(shmctl(closed, IPC_RMID, NULL) == 0);
    int written = shmget(IPC_PRIVATE, 100, 0200);
    FAILS(shmat(written, NULL, SHM_RDONLY), EACCES);
    FAILS(shmat(written, NULL, 0), EACCES);
    int read = shmget(IPC_PRIVATE, 100, 0400);
    FAILS(shmat(read, NULL, 0), EACCES);
    FAILS(shmat(read, NULL, SHM_RDONLY | SHM_EXEC), EACCES);
    HOLDS(shmat(read, NULL, SHM_RDONLY) != (void *)-1);

    /* Given away, and still its creator's to set and to remove. */
    int given = shmget(IPC_PRIVATE, 100, 0600);
    memset(&ds, 0, sizeof(ds));
    HOLDS(shmctl(given, IPC_SET, &ds) == 0);
    FAILS(shmctl(given, IPC_STAT, &ds), EACCES);
    ds.shm_perm.uid = ds.shm_perm.gid = NOBODY;
    ds.shm_perm.mode = 0600;
    HOLDS(shmctl(given, IPC_SET, &ds) == 0 && mode_of(given) == 0600);

    int highest = shmctl(0, SHM_INFO, &ds), refused = 0;
    for (int index = 0; index <= highest; index++) {
        refused += shmctl(index, SHM_STAT, &ds) == -1 && errno == EACCES;
        HOLDS(shmctl(index, SHM_STAT_ANY, &ds) != -1 || errno == EINVAL);
    }
    HOLDS(refused > 0);
}

static void get(void)
{
    FAILS(shmget(KEY, 0, 0), ENOENT);
    FAILS(shmget(KEY, 0, IPC_CREAT | 0600), EINVAL);
    umask(077);
    int id = shmget(KEY, 100, IPC_CREAT | IPC_EXCL | 0666);
    HOLDS(mode_of(id) == 0666);
    struct shmid_ds ds = stat_of(id);
    ds.shm_perm.mode = 0600;
    HOLDS(shmctl(id, IPC_SET, &ds) == 0);
    HOLDS(shmget(KEY, 0, 0) == id && shmget(KEY, 100, IPC_EXCL) == id);
    HOLDS(shmget(KEY, 100, IPC_CREAT | 0666) == id && mode_of(id) == 0600);
    FAILS(shmget(KEY, 101, IPC_CREAT | 0600), EINVAL);
    FAILS(shmget(KEY, 101, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    HOLDS(mode_of(shmget(IPC_PRIVATE, 100, 0)) == 0);
    as_nobody(get_as_nobody, id);

    ds.shm_perm.uid = (uid_t)-1;
    FAILS(shmctl(id, IPC_SET, &ds), EINVAL);
    HOLDS(shmctl(id, SHM_LOCK, NULL) == 0 && mode_of(id) == 02600);
    HOLDS(shmctl(id, SHM_UNLOCK, NULL) == 0 && mode_of(id) == 0600);
    HOLDS(shmctl(id, IPC_RMID, NULL) == 0);
}

static void attach(void)
{
    int   id = shmget(KEY, 4 * PAGE, IPC_CREAT | 0600);
    char *bytes = shmat(id, NULL, 0);
    char *hole = mmap(NULL, 2 * SHMLBA + 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(hole, 2 * SHMLBA + 4 * PAGE);
    hole += SHMLBA - (uintptr_t)hole % SHMLBA;
    FAILS(shmat(id + 30000, NULL, 0), EINVAL);
    FAILS(shmat(id, bytes, 0), EINVAL);
    FAILS(shmat(id, hole + 1, 0), EINVAL);
    FAILS(shmat(id, NULL, SHM_REMAP), EINVAL);
    HOLDS(shmat(id, hole + 1, SHM_RND) == hole && shmdt(hole) == 0);
    FAILS(shmdt(bytes + PAGE), EINVAL);

    char *mine = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(mine, "mine");
    HOLDS(shmat(id, mine, SHM_REMAP) == mine && strcmp(mine, "mine") && shmdt(mine) == 0);

    HOLDS(stat_of(id).shm_nattch == 1);
    mprotect(bytes + PAGE, PAGE, PROT_READ);
    HOLDS(stat_of(id).shm_nattch == 3);
    HOLDS(shmdt(bytes) == 0 && stat_of(id).shm_nattch == 0);

    /* fork attaches, exec detaches: the child says when each has happened. */
    int said[2], asked[2];
    char word;
    bytes = shmat(id, NULL, 0);
    if (pipe(said) == -1 || pipe(asked) == -1)
        exit(1);
    if (fork() == 0) {
        dup2(asked[0], 0);
        dup2(said[1], 1);
        close(asked[1]);
        if (write(1, "f", 1) == 1 && read(0, &word, 1) == 1)
            execlp("sh", "sh", "-c", "printf e; read word", (char *)NULL);
        _exit(1);
    }
    HOLDS(read(said[0], &word, 1) == 1 && word == 'f' && stat_of(id).shm_nattch == 2);
    HOLDS(write(asked[1], "\n", 1) == 1);
    HOLDS(read(said[0], &word, 1) == 1 && word == 'e' && stat_of(id).shm_nattch == 1);
    HOLDS(write(asked[1], "\n", 1) == 1);
    wait(NULL);

    /* Removal marks. */
    HOLDS(shmctl(id, IPC_RMID, NULL) == 0 && mode_of(id) == 01600 && stat_of(id).shm_perm.__key == 0);
    HOLDS(shmctl(id, IPC_RMID, NULL) == 0);
    char *again = shmat(id, NULL, 0);
    HOLDS(again != (void *)-1 && shmdt(again) == 0);
    FAILS(shmget(KEY, 0, 0), ENOENT);
    int other = shmget(KEY, 100, IPC_CREAT | IPC_EXCL | 0600);
    HOLDS(other != -1 && other != id);
    HOLDS(shmdt(bytes) == 0);
    FAILS(shmctl(id, IPC_RMID, NULL), EINVAL);
    FAILS(shmat(id, NULL, 0), EINVAL);
}

static void commands(void)
{
    struct shmid_ds ds;
    struct shminfo  limits;
    int first = shmget(IPC_PRIVATE, 100, 0600), second = shmget(IPC_PRIVATE, 100, 0600);
    int highest = shmctl(0, IPC_INFO, (struct shmid_ds *)&limits), found = 0;

    HOLDS(highest > 0 && shmctl(0, SHM_INFO, &ds) == highest);
    for (int index = 0; index <= highest; index++) {
        int id = shmctl(index, SHM_STAT, &ds);
        found += id == first || id == second;
    }
    HOLDS(found == 2);
    FAILS(shmctl(highest + 1, SHM_STAT, &ds), EINVAL);
    HOLDS(sizeof(ds.shm_nattch) == sizeof(long) && sizeof(ds.shm_segsz) == sizeof(size_t));
}

int main(int argc, char **argv)
{
    alarm(60);
    if (argc != 2)
        return 2;
    if (unshare(CLONE_NEWIPC) == -1)
        return 77;
    keys(argv[1]);
    get();
    attach();
    commands();
    return wrong;
}
