/* qemu-user 7.2 takes the mode of a segment for 16 bits, where s390x has 32, and so misplaces it: every program that reads
   it back reads 0. This puts it where the kernel has it. It stands in each program, before the C library's own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/shm.h>

int shmctl(int id, int command, struct shmid_ds *segment)
{
    int (*next)(int, int, struct shmid_ds *) = (int (*)(int, int, struct shmid_ds *))dlsym(RTLD_NEXT, "shmctl");
    struct shmid_ds moved;
    if (command == IPC_SET && segment) {
        moved = *segment;
        moved.shm_perm.mode <<= 16;
        return next(id, command, &moved);
    }
    int answer = next(id, command, segment);
    if ((command == IPC_STAT || command == SHM_STAT) && answer >= 0)
        segment->shm_perm.mode >>= 16;
    return answer;
}
