/* The same server and client over POSIX, where nobody counts who has an object mapped: they count themselves. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SIZE 4096

struct desk {
    int  clients;
    char text[SIZE - sizeof(int)];
};

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static int clients(struct desk *desk)
{
    return __sync_fetch_and_add(&desk->clients, 0);
}

static void say(const char *what)
{
    puts(what);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int          fd, server = argc == 3 && !strcmp(argv[1], "serve");
    struct desk *desk;

    alarm(60);
    if (!server && (argc != 4 || strcmp(argv[1], "visit")))
        return 2;
    fd = shm_open(argv[2], server ? O_CREAT | O_EXCL | O_RDWR : O_RDWR, 0600);
    if (fd == -1)
        die("shm_open");
    if (server && ftruncate(fd, SIZE) == -1)
        die("ftruncate");
    if (server && fchmod(fd, 0660) == -1)
        die("fchmod");
    desk = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (desk == MAP_FAILED)
        die("mmap");
    close(fd);
    if (server) {
        say("ready");
        while (clients(desk) < 1)
            usleep(200);
        say("a client came");
        while (clients(desk) > 0)
            usleep(200);
        say(desk->text);
        if (shm_unlink(argv[2]) == -1)
            die("shm_unlink");
        say("removed");
    } else {
        strcpy(desk->text, argv[3]);
        __sync_fetch_and_add(&desk->clients, 1);
        say("here");
        getchar();
        __sync_fetch_and_sub(&desk->clients, 1);
    }
    munmap(desk, SIZE);
    return 0;
}
