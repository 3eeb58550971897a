/* Takes part in C: prints the value, waits for the event, prints the next one, and notifies in turn. The region is the
 * descriptor 0. */
#include <stdio.h>
#include <sys/mman.h>
#include "../include/shared_region_sync.h"

struct board {
    srs_event changed;
    _Atomic uint32_t heard;
    srs_versioned value;
    unsigned char buffers[2][64];
};

int main(void) {
    struct board *board = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0);
    if (board == MAP_FAILED) return 1;
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += 30;
    uint64_t block[8];
    for (int round = 0; round < 1000; round++) {
        uint32_t seen = srs_event_count(&board->changed);
        srs_versioned_load(&board->value, block, sizeof block);
        for (int at = 1; at < 8; at++)
            if (block[at] != block[0]) return 2;
        atomic_store(&board->heard, (uint32_t)block[0]);
        srs_event_notify_all(&board->changed);
        if (block[0] == 500) return 0;
        /* The count has moved by the notification above at least. */
        if (srs_event_wait(&board->changed, seen + 1, &deadline)) return 3;
    }
    return 4;
}
