/* Writer and reader of a System V segment, by an ftok key or the key of a name. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#define SIZE 5000
#define ANSWER 256 /* where the reader answers */

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

/* `name:frames` is the key that stands for a name in the crate; all else is a path. */
static key_t key_of(const char *where)
{
    key_t key;

    if (!strncmp(where, "name:", 5)) {
        uint32_t hash = 0x811c9dc5u;
        for (where += 5; *where; where++)
            hash = (hash ^ (unsigned char)*where) * 0x01000193u;
        return (key_t)(hash == 0 ? 0x9e3779b9u : hash == 0xffffffffu ? 0x7f4a7c15u : hash);
    }
    key = ftok(where, 'R');
    if (key == (key_t)-1)
        die("ftok");
    return key;
}

static int segment(const char *where, size_t size, int flags)
{
    int id = shmget(key_of(where), size, flags);

    if (id == -1)
        die("shmget");
    return id;
}

static char *attach(int id)
{
    char *bytes = shmat(id, NULL, 0);

    if (bytes == (char *)-1)
        die("shmat");
    return bytes;
}

int main(int argc, char **argv)
{
    char *bytes;

    alarm(60);
    if (argc == 4 && !strcmp(argv[1], "write")) {
        bytes = attach(segment(argv[2], SIZE, IPC_CREAT | IPC_EXCL | 0640));
        strcpy(bytes, argv[3]);
        puts("ready");
        fflush(stdout);
        getchar();
        puts(bytes + ANSWER);
        if (shmdt(bytes) == -1)
            die("shmdt");
    } else if (argc == 4 && !strcmp(argv[1], "read")) {
        bytes = attach(segment(argv[2], SIZE, 0600));
        puts(bytes);
        fflush(stdout);
        getchar();
        strcpy(bytes + ANSWER, argv[3]);
        if (shmdt(bytes) == -1)
            die("shmdt");
    } else if (argc == 3 && !strcmp(argv[1], "stat")) {
        struct shmid_ds ds;
        if (shmctl(segment(argv[2], 0, 0), IPC_STAT, &ds) == -1)
            die("shmctl");
        printf("%zu %o %lu\n", (size_t)ds.shm_segsz, (unsigned)ds.shm_perm.mode,
               (unsigned long)ds.shm_nattch);
    } else if (argc == 3 && !strcmp(argv[1], "remove")) {
        if (shmctl(segment(argv[2], 0, 0), IPC_RMID, NULL) == -1)
            die("shmctl");
    } else {
        return 2;
    }
    return 0;
}
