/* What a C program sees of a segment. Used by interop.rs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

static int fail(const char *what) {
    perror(what);
    return 1;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "ftok")) {
        printf("%d", (int)ftok(argv[2], atoi(argv[3])));
        return 0;
    }
    if (argc == 3 && !strcmp(argv[1], "stat")) {
        struct shmid_ds ds;
        if (shmctl(atoi(argv[2]), IPC_STAT, &ds))
            return fail("IPC_STAT");
        printf("%d %zu %o %u %u %u %u %d %d %lu %lld %lld %lld %u", (int)ds.shm_perm.__key,
               ds.shm_segsz, (unsigned)ds.shm_perm.mode, (unsigned)ds.shm_perm.uid,
               (unsigned)ds.shm_perm.gid, (unsigned)ds.shm_perm.cuid,
               (unsigned)ds.shm_perm.cgid, (int)ds.shm_cpid, (int)ds.shm_lpid,
               (unsigned long)ds.shm_nattch, (long long)ds.shm_atime,
               (long long)ds.shm_dtime, (long long)ds.shm_ctime,
               (unsigned)ds.shm_perm.__seq);
        return 0;
    }
    if (argc == 5 && !strcmp(argv[1], "exchange")) { /* key expected answer */
        int id = shmget(atoi(argv[2]), strlen(argv[3]), 0600);
        char *bytes;
        if (id == -1)
            return fail("shmget");
        bytes = shmat(id, NULL, 0);
        if (bytes == (char *)-1)
            return fail("shmat");
        printf("%s", memcmp(bytes, argv[3], strlen(argv[3])) ? "different" : "same");
        memcpy(bytes, argv[4], strlen(argv[4]));
        return shmdt(bytes) ? fail("shmdt") : 0;
    }
    if (argc == 4 && !strcmp(argv[1], "create")) { /* key text */
        int id = shmget(atoi(argv[2]), 100, IPC_CREAT | IPC_EXCL | 0640);
        char *bytes;
        if (id == -1)
            return fail("shmget");
        bytes = shmat(id, NULL, 0);
        if (bytes == (char *)-1)
            return fail("shmat");
        strcpy(bytes, argv[3]);
        printf("%d", id);
        return 0;
    }
    fprintf(stderr, "usage: ftok path proj_id | stat id | exchange key old new | create key text\n");
    return 2;
}
