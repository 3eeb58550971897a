/* Parent and child with IPC_PRIVATE; the segment is marked for removal as soon as it is attached. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define SIZE 4096
#define ANSWER 256

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static char *attach(int id)
{
    char *bytes = shmat(id, NULL, 0);

    if (bytes == (char *)-1)
        die("shmat");
    return bytes;
}

static void answer(char *bytes)
{
    if (strcmp(bytes, "from the parent")) {
        fprintf(stderr, "the child found: %s\n", bytes);
        exit(1);
    }
    strcpy(bytes + ANSWER, "from a child in C");
}

int main(int argc, char **argv)
{
    char *bytes;
    int   id, status;

    alarm(60);
    if (argc == 3 && !strcmp(argv[1], "child")) {
        answer(attach(atoi(argv[2])));
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "parent"))
        return 2;
    id = shmget(IPC_PRIVATE, SIZE, 0600);
    if (id == -1)
        die("shmget");
    bytes = attach(id);
    if (shmctl(id, IPC_RMID, NULL) == -1)
        die("shmctl");
    strcpy(bytes, "from the parent");
    switch (fork()) {
    case -1:
        die("fork");
    case 0:
        if (argc > 2) { /* another program, which gets the id as its last argument */
            char **args = calloc((size_t)argc, sizeof(*args)), text[16];
            if (args == NULL)
                die("calloc");
            memcpy(args, argv + 2, (size_t)(argc - 2) * sizeof(*args));
            snprintf(text, sizeof(text), "%d", id);
            args[argc - 2] = text;
            execv(args[0], args);
            die("execv");
        }
        answer(bytes); /* inherited */
        _exit(0);
    }
    if (wait(&status) == -1 || status != 0) {
        fprintf(stderr, "the child failed: %x\n", (unsigned)status);
        return 1;
    }
    puts(bytes + ANSWER);
    return 0;
}
