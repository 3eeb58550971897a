/*
 * Sensor readings through System V shared memory, the way such programs have
 * been written for decades: the program that the guide ports, stage by stage.
 *
 *     cc -o sensors sensors.c
 *     ./sensors PATH produce CHANNEL COUNT    write COUNT readings and leave
 *     ./sensors PATH consume COUNT            print readings until COUNT are here
 *     ./sensors PATH remove
 *
 * PATH is any file that exists; its key leads to the board. Each channel is a
 * ring with one producer and one consumer. Whoever comes first makes the board.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#define MAGIC    0x53454e53u    /* "SENS" */
#define CHANNELS 4
#define SLOTS    64

struct reading {
    uint64_t number;            /* 0, 1, 2, ... within its channel */
    int64_t  value;
};

struct channel {
    uint32_t producer;          /* who writes here, 0 if nobody */
    uint32_t unused;
    uint64_t written;           /* moved on by the producer alone */
    uint64_t taken;             /* moved on by the consumer alone */
    struct reading ring[SLOTS];
};

struct board {
    uint32_t magic;             /* stored last by the program that made the board */
    uint32_t consumer;          /* who takes readings, 0 if nobody */
    struct channel channels[CHANNELS];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t measure(uint64_t number)
{
    return (int64_t)(number * 7919 % 2000) - 1000;
}

static int segment_of(const char *path, int flags)
{
    key_t key = ftok(path, 'S');
    int   id;

    if (key == (key_t)-1)
        die("ftok");
    id = shmget(key, sizeof(struct board), flags);
    if (id == -1)
        die("shmget");
    return id;
}

static struct board *attach(const char *path)
{
    struct board *board = shmat(segment_of(path, IPC_CREAT | 0600), NULL, 0);

    if (board == (void *)-1)
        die("shmat");
    /* A new segment is all zeros, which is an empty board. */
    __sync_bool_compare_and_swap(&board->magic, 0, MAGIC);
    if (board->magic != MAGIC) {
        fprintf(stderr, "%s leads to a segment of another program\n", path);
        exit(1);
    }
    return board;
}

static void claim(uint32_t *place, const char *what)
{
    if (!__sync_bool_compare_and_swap(place, 0, (uint32_t)getpid())) {
        fprintf(stderr, "%s is taken by process %u\n", what, *place);
        exit(1);
    }
}

static void release(uint32_t *place)
{
    __sync_synchronize();
    *(volatile uint32_t *)place = 0;
}

static void produce(struct board *board, int number, uint64_t count)
{
    struct channel *channel = &board->channels[number];
    uint64_t first, written;

    claim(&channel->producer, "the channel");
    first = channel->written;
    for (written = first; written < first + count; written++) {
        while (written - *(volatile uint64_t *)&channel->taken == SLOTS)
            usleep(100);
        channel->ring[written % SLOTS].number = written;
        channel->ring[written % SLOTS].value = measure(written);
        __sync_synchronize();
        *(volatile uint64_t *)&channel->written = written + 1;
    }
    release(&channel->producer);
}

static void consume(struct board *board, uint64_t count)
{
    uint64_t seen = 0;

    claim(&board->consumer, "the board");
    while (seen < count) {
        int number, idle = 1;

        for (number = 0; number < CHANNELS && seen < count; number++) {
            struct channel *channel = &board->channels[number];
            uint64_t taken = channel->taken;

            if (taken == *(volatile uint64_t *)&channel->written)
                continue;
            __sync_synchronize();
            printf("%d %llu %lld\n", number,
                   (unsigned long long)channel->ring[taken % SLOTS].number,
                   (long long)channel->ring[taken % SLOTS].value);
            __sync_synchronize();
            *(volatile uint64_t *)&channel->taken = taken + 1;
            seen++;
            idle = 0;
        }
        if (idle)
            usleep(100);
    }
    fflush(stdout);
    release(&board->consumer);
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[2], "produce")
        && atoi(argv[3]) >= 0 && atoi(argv[3]) < CHANNELS)
        produce(attach(argv[1]), atoi(argv[3]), strtoull(argv[4], NULL, 10));
    else if (argc == 4 && !strcmp(argv[2], "consume"))
        consume(attach(argv[1]), strtoull(argv[3], NULL, 10));
    else if (argc == 3 && !strcmp(argv[2], "remove")) {
        if (shmctl(segment_of(argv[1], 0), IPC_RMID, NULL) == -1)
            die("shmctl");
    } else {
        fprintf(stderr, "usage: sensors PATH produce CHANNEL(0..%d) COUNT"
                        " | consume COUNT | remove\n", CHANNELS - 1);
        return 2;
    }
    return 0;
}
