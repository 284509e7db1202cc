/* fault KIND: touches memory in a way that is not allowed. It prints that it
 * survived and exits with 0 if nothing stops it. */
#include "guest.h"

MANIFEST();

/* "ret": returns at once where it can be executed at all. */
static instruction code_in_data[16] = {RETURN};
static instruction code_in_bss[16];

static void execute(volatile instruction *code)
{
    *code = RETURN;
    ((void (*)(void))code)();
}

static void touch(const struct boot *boot, const char *kind)
{
    volatile instruction on_stack[16];

    if (equal(kind, "write-text"))
        *(volatile instruction *)(u64)program = RETURN;
    else if (equal(kind, "execute-data"))
        execute(code_in_data);
    else if (equal(kind, "execute-bss"))
        execute(code_in_bss);
    else if (equal(kind, "execute-heap"))
        execute((instruction *)(end_of_image + 4096));
    else if (equal(kind, "execute-low"))
        execute((instruction *)0x20000);
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
