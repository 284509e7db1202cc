#include "guest.h"

/* An interpreter that does not exist keeps anyone from running the image by
 * accident as an ordinary program. */
__attribute__((section(".interp"), used)) static const char interpreter[24] =
    "/nonexistent/solo5/";

__asm__(ENTRY);

_Noreturn __attribute__((used)) void start(const void *boot_info, u64 stack)
{
    struct boot boot;

    target_start(boot_info, &boot);
    boot.stack = stack;
    halt(program(&boot));
}

/* The compiler may call this one for itself. */
void *memset(void *to, int c, u64 n)
{
    for (u8 *p = to; n > 0; n--)
        *p++ = (u8)c;
    return to;
}

void *memcpy(void *to, const void *from, u64 n)
{
    u8 *p = to;
    for (const u8 *q = from; n > 0; n--)
        *p++ = *q++;
    return to;
}

static u64 length(const char *text)
{
    u64 n = 0;
    while (text[n])
        n++;
    return n;
}

int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static int starts_with(const char *text, const char *prefix)
{
    while (*prefix)
        if (*text++ != *prefix++)
            return 0;
    return 1;
}

void print(const char *text)
{
    console_write(text, length(text));
}

void print_number(u64 n)
{
    char digits[20];
    int first = sizeof digits;

    do
        digits[--first] = '0' + n % 10;
    while (n /= 10);
    console_write(digits + first, sizeof digits - first);
}

_Noreturn void sleep_for_ever(void)
{
    for (;;)
        sleep_ms(3600 * 1000);
}

const char *argument(const struct boot *boot, int index)
{
    static char word[256];
    const char *p = boot->command_line;

    for (;;) {
        u64 n = 0;
        while (*p == ' ')
            p++;
        while (*p && *p != ' ' && n < sizeof word - 1)
            word[n++] = *p++;
        word[n] = 0;
        if (n == 0)
            return "";
        if (!starts_with(word, "--name=") && index-- == 0)
            return word;
    }
}

int has_argument(const struct boot *boot, const char *text)
{
    const char *word;

    for (int i = 0; *(word = argument(boot, i)); i++)
        if (equal(word, text))
            return 1;
    return 0;
}

int option(const struct boot *boot, const char *prefix, char *value, u64 size)
{
    const char *p = boot->command_line;
    u64 n = 0;

    while (*p && !starts_with(p, prefix)) {
        while (*p && *p != ' ')
            p++;
        while (*p == ' ')
            p++;
    }
    if (*p)
        for (p += length(prefix); *p && *p != ' ' && n < size - 1; p++)
            value[n++] = *p;
    value[n] = 0;
    return n > 0;
}

u64 number(const char *text)
{
    u64 n = 0;
    while (*text >= '0' && *text <= '9')
        n = n * 10 + (*text++ - '0');
    return n;
}
