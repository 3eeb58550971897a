/* The layouts of shared-region-sync, version 1, for programs in C. All zeros is the initial state of each; all words are
 * in the machine's byte order, and are read and written by atomic accesses of 32 bits.
 *
 * The functions below are what a program needs that reads a value and waits for an event, on Linux. Taking a lock or a
 * place in a table is left to Rust. */
#ifndef SHARED_REGION_SYNC_H
#define SHARED_REGION_SYNC_H

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Bit 0: somebody may sleep; bit 1: a wake is owed; bits 2 to 31: the count of notifications. */
typedef struct { _Atomic uint32_t word; } srs_event;

/* word: bits 0 to 19 the holder's generation, bits 20 to 29 its slot and one, bit 30: a holder died and nobody repaired,
 * bit 31: somebody may sleep. */
typedef struct { _Atomic uint32_t word, table, thread, reserved; } srs_mutex;

typedef struct { _Atomic uint32_t version, slots, id, reserved; } srs_members_head;

/* word: bits 0 to 29 the keeper's thread id; FUTEX_OWNER_DIED: it is dead; FUTEX_WAITERS: somebody sleeps until then. */
typedef struct { _Atomic uint32_t word, generation, claim, reserved; } srs_slot;

typedef struct { _Atomic uint32_t done, begun, magic, version, size; srs_mutex lock; } srs_once;

/* It starts at a multiple of 8. Two buffers follow, each of the value's size rounded up to 8; the version's lowest bit says which is the present one. */
typedef struct { srs_event changed; _Atomic uint32_t reserved; srs_mutex lock; } srs_versioned;

#define SRS_PADDED(size) (((size) + 7) / 8 * 8)

static inline uint32_t srs_event_count(const srs_event *event) {
    return atomic_load_explicit(&((srs_event *)event)->word, memory_order_acquire) / 4;
}

/* The call whose time is a `struct timespec` of this program. */
#ifdef SYS_futex_time64
#define SRS_FUTEX (sizeof(time_t) > sizeof(long) ? SYS_futex_time64 : SYS_futex)
#else
#define SRS_FUTEX SYS_futex
#endif

/* Sleeps until the count is another than `seen`, or until `deadline` of CLOCK_MONOTONIC; 0, or ETIMEDOUT. */
static inline int srs_event_wait(srs_event *event, uint32_t seen, const struct timespec *deadline) {
    for (;;) {
        uint32_t word = atomic_load_explicit(&event->word, memory_order_acquire);
        if (word / 4 != seen) return 0;
        if (!(word & 1) && !atomic_compare_exchange_strong(&event->word, &word, word | 1)) continue;
        if (syscall(SRS_FUTEX, &event->word, FUTEX_WAIT_BITSET, word | 1, deadline, NULL, ~0u) && errno == ETIMEDOUT)
            return srs_event_count(event) == seen ? ETIMEDOUT : 0;
    }
}

/* Says that something has changed. */
static inline void srs_event_notify_all(srs_event *event) {
    uint32_t old = atomic_load_explicit(&event->word, memory_order_relaxed), owed;
    do {
        owed = (old & 1) << 1 | (old & 2);
    } while (!atomic_compare_exchange_weak(&event->word, &old, ((old & ~3u) + 4) | owed));
    if (!owed) return;
    syscall(SYS_futex, &event->word, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
    atomic_fetch_and(&event->word, ~2u);
}

/* Copies the present value of `size` bytes out, which may lie in read-only memory; returns its version. */
static inline uint32_t srs_versioned_load(const srs_versioned *value, void *to, size_t size) {
    for (;;) {
        uint32_t version = srs_event_count(&value->changed);
        const volatile unsigned char *from = (const volatile unsigned char *)(value + 1) + (version & 1) * SRS_PADDED(size);
        for (size_t at = 0; at < size; at++) ((unsigned char *)to)[at] = from[at];
        atomic_thread_fence(memory_order_acquire);
        if (srs_event_count(&value->changed) == version) return version;
    }
}

#endif
