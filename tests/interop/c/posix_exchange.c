/* Writer and reader of a POSIX shared memory object. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SIZE 5000
#define ANSWER 256 /* where the reader answers */

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static int object(const char *name, int flags)
{
    int fd = shm_open(name, flags, 0640);

    if (fd == -1)
        die("shm_open");
    return fd;
}

static char *map(int fd)
{
    char *bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (bytes == MAP_FAILED)
        die("mmap");
    close(fd);
    return bytes;
}

int main(int argc, char **argv)
{
    char *bytes;

    alarm(60);
    if (argc == 4 && !strcmp(argv[1], "write")) {
        int fd = object(argv[2], O_CREAT | O_EXCL | O_RDWR);
        if (ftruncate(fd, SIZE) == -1)
            die("ftruncate");
        bytes = map(fd);
        strcpy(bytes, argv[3]);
        puts("ready");
        fflush(stdout);
        getchar();
        puts(bytes + ANSWER);
        munmap(bytes, SIZE);
    } else if (argc == 4 && !strcmp(argv[1], "read")) {
        bytes = map(object(argv[2], O_RDWR));
        puts(bytes);
        fflush(stdout);
        getchar();
        strcpy(bytes + ANSWER, argv[3]);
        munmap(bytes, SIZE);
    } else if (argc == 3 && !strcmp(argv[1], "stat")) {
        struct stat st;
        if (fstat(object(argv[2], O_RDONLY), &st) == -1)
            die("fstat");
        printf("%lld %o -\n", (long long)st.st_size, (unsigned)st.st_mode & 07777);
    } else if (argc == 3 && !strcmp(argv[1], "remove")) {
        if (shm_unlink(argv[2]) == -1)
            die("shm_unlink");
    } else {
        return 2;
    }
    return 0;
}
