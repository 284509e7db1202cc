/* chatty N [exit]: prints N numbered lines as fast as it can, then exits with
 * 0 or sleeps. */
#include "guest.h"

MANIFEST();

int program(const struct boot *boot)
{
    u64 count = number(argument(boot, 0));

    for (u64 n = 1; n <= count; n++) {
        char line[32];
        int end = sizeof line;
        u64 rest = n;

        line[--end] = '\n';
        do
            line[--end] = '0' + rest % 10;
        while (rest /= 10);
        for (int i = 4; i >= 0; i--)
            line[--end] = "line "[i];
        console_write(line + end, sizeof line - end);
    }
    if (has_argument(boot, "exit"))
        return 0;
    sleep_for_ever();
}
