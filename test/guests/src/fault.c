/* fault KIND: touches memory in a way that is not allowed. It prints that it
 * survived and exits with 0 if nothing stops it. */
#include "guest.h"

MANIFEST();

/* "ret": returns at once where it can be executed at all. */
static u8 code_in_data[16] = {0xc3};
static u8 code_in_bss[16];

static void execute(volatile u8 *code)
{
    *code = 0xc3;
    ((void (*)(void))code)();
}

static void touch(const struct boot *boot, const char *kind)
{
    volatile u8 on_stack[16];

    if (equal(kind, "write-text"))
        *(volatile u8 *)(u64)program = 0xc3;
    else if (equal(kind, "execute-data"))
        execute(code_in_data);
    else if (equal(kind, "execute-bss"))
        execute(code_in_bss);
    else if (equal(kind, "execute-heap"))
        execute(end_of_image + 4096);
    else if (equal(kind, "execute-low"))
        execute((u8 *)0x20000);
    else if (equal(kind, "execute-stack"))
        execute(on_stack);
    else if (equal(kind, "read-above"))
        *(volatile u8 *)boot->memory;
    else
        *(volatile u8 *)0 = 1;
}

int program(const struct boot *boot)
{
    touch(boot, argument(boot, 0));
    print("survived\n");
    return 0;
}
