/* Parent and child with an object whose name is gone as soon as it is open; a child that runs another program gets the
   descriptor. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SIZE 4096
#define ANSWER 256

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static char *map(int fd)
{
    char *bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (bytes == MAP_FAILED)
        die("mmap");
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
    char *bytes, name[64];
    int   fd, status;

    alarm(60);
    if (argc == 3 && !strcmp(argv[1], "child")) {
        answer(map(atoi(argv[2])));
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "parent"))
        return 2;
    snprintf(name, sizeof(name), "/interop-family-%ld", (long)getpid());
    fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd == -1)
        die("shm_open");
    if (shm_unlink(name) == -1)
        die("shm_unlink");
    if (ftruncate(fd, SIZE) == -1)
        die("ftruncate");
    bytes = map(fd);
    strcpy(bytes, "from the parent");
    switch (fork()) {
    case -1:
        die("fork");
    case 0:
        if (argc > 2) { /* another program, which gets the descriptor as its last argument */
            char **args = calloc((size_t)argc, sizeof(*args)), text[16];
            if (args == NULL)
                die("calloc");
            memcpy(args, argv + 2, (size_t)(argc - 2) * sizeof(*args));
            snprintf(text, sizeof(text), "%d", fd);
            args[argc - 2] = text;
            if (fcntl(fd, F_SETFD, 0) == -1) /* shm_open sets close-on-exec */
                die("fcntl");
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
