/* A server that creates a segment, opens it to its group by IPC_SET, waits until a client has come and all have gone,
   and removes it. And a client. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#define SIZE 4096

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static unsigned long attached(int id)
{
    struct shmid_ds ds;

    if (shmctl(id, IPC_STAT, &ds) == -1)
        die("IPC_STAT");
    return (unsigned long)ds.shm_nattch;
}

static void say(const char *what)
{
    puts(what);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int   id, server = argc == 3 && !strcmp(argv[1], "serve");
    key_t key;
    char *bytes;

    alarm(60);
    if (!server && (argc != 4 || strcmp(argv[1], "visit")))
        return 2;
    key = ftok(argv[2], 'R');
    if (key == (key_t)-1)
        die("ftok");
    id = shmget(key, SIZE, server ? IPC_CREAT | IPC_EXCL | 0600 : 0660);
    if (id == -1)
        die("shmget");
    bytes = shmat(id, NULL, 0);
    if (bytes == (char *)-1)
        die("shmat");
    if (server) {
        struct shmid_ds ds;
        if (shmctl(id, IPC_STAT, &ds) == -1)
            die("IPC_STAT");
        ds.shm_perm.mode = 0660;
        if (shmctl(id, IPC_SET, &ds) == -1)
            die("IPC_SET");
        say("ready");
        while (attached(id) < 2)
            usleep(200);
        say("a client came");
        while (attached(id) > 1)
            usleep(200);
        say(bytes);
        if (shmctl(id, IPC_RMID, NULL) == -1)
            die("IPC_RMID");
        say("removed");
    } else {
        strcpy(bytes, argv[3]);
        say("here");
        getchar();
    }
    if (shmdt(bytes) == -1)
        die("shmdt");
    return 0;
}
