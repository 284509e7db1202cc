/*
 * What every guest program shares: the two layers below it (one per Solo5
 * target) and a handful of helpers, so that a program is a page of C.
 *
 * Written from the public Solo5 ABI; there is no libc and no Solo5 code here.
 */
#ifndef GUEST_H
#define GUEST_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;

#ifdef __x86_64__
#include "amd64.h"
#else
#include "arm64.h"
#endif

/* ---- the manifest ---------------------------------------------------- */

enum device_type { DEVICE_BLOCK = 1, DEVICE_NET = 2, DEVICE_FIRST = 1 << 30 };

struct block_properties {
    u64 capacity;
    u16 sector_size;
};

struct net_properties {
    u8 mac[6];
    u16 mtu;
};

struct device {
    char name[68];
    u32 type;
    union {
        struct block_properties block;
        struct net_properties net;
    } u;
    union {
        int descriptor;
        void *object;
    } backing;
    u8 attached;
};
_Static_assert(sizeof(struct device) == 104, "manifest entry");

struct manifest {
    u32 version;
    u32 count;
    struct device devices[];
};

/*
 * MANIFEST(devices...) makes the note that tells a tender which devices the
 * program wants. The first entry is reserved by the ABI. The four bytes
 * between the note's header and the manifest align the manifest to eight.
 */
#define DEVICES(...)                                                           \
    { {.type = DEVICE_FIRST}, __VA_ARGS__ }
#define MANIFEST(...)                                                          \
    __attribute__((section(".note.solo5.manifest"), aligned(8), used)) static const  \
        struct {                                                               \
        u32 owner_size, size, type;                                            \
        char owner[8];                                                         \
        u32 alignment;                                                         \
        u32 version, count;                                                    \
        struct device devices[sizeof((struct device[])DEVICES(__VA_ARGS__)) /  \
                              sizeof(struct device)];                          \
    } manifest_note = {                                                        \
        .owner_size = 6,                                                       \
        .size = sizeof(manifest_note) - 20,                                    \
        .type = 0x3154464d,                                                    \
        .owner = "Solo5",                                                      \
        .version = 1,                                                          \
        .count = sizeof(manifest_note.devices) / sizeof(struct device),        \
        .devices = DEVICES(__VA_ARGS__)}

/* ---- the layer of the target: spt.c or hvt.c ------------------------- */

struct boot {
    u64 stack; /* the stack pointer on entry */
    u64 memory;
    u64 image_end;
    const char *command_line;
    struct manifest *manifest;
};

void target_start(const void *boot_info, struct boot *boot);
void console_write(const char *data, u64 length);
_Noreturn void halt(int status);
void sleep_ms(u64 ms);
/* The time since some moment in the past. */
u64 clock_ms(void);

/* Both answer 0 when the whole sector was transferred. */
int block_read(struct device *d, u32 handle, u64 offset, void *data);
int block_write(struct device *d, u32 handle, u64 offset, const void *data);

/* Waits for a frame and answers its length. */
u64 net_receive(struct device *d, u32 handle, void *data, u64 size);
/* Waits for a frame as long as it is told and answers its length, or 0 when none has come. */
u64 net_receive_within(struct device *d, u32 handle, void *data, u64 size, u64 ms);
void net_send(struct device *d, u32 handle, const void *data, u64 length);

/*
 * Does something the tender must not allow. Answers 0 when kind is not known
 * for this target; otherwise it should not return.
 */
int misbehave(const char *kind);

/* ---- helpers: common.c ----------------------------------------------- */

/* The first page behind everything: from guest.ld. */
extern u8 end_of_image[];

/* The program itself; what it returns is the exit status. */
int program(const struct boot *boot);

void *memset(void *to, int c, u64 n);
void *memcpy(void *to, const void *from, u64 n);
int equal(const char *a, const char *b);
void print(const char *text);
void print_number(u64 n);
_Noreturn void sleep_for_ever(void);

/*
 * Answers the index-th argument (from 0), or "" when there are fewer.
 * Arguments are separated by blanks; --name=LABEL, which albatross puts before
 * them, is not counted.
 */
const char *argument(const struct boot *boot, int index);
int has_argument(const struct boot *boot, const char *text);
/* Copies what follows a prefix in the first argument that begins with it, --name=LABEL
 * included. Answers 0 when there is none; value is "" then. */
int option(const struct boot *boot, const char *prefix, char *value, u64 size);
u64 number(const char *text);

#endif
