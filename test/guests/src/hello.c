/* hello [--once|--quiet] ...: says hello and shows its command line as it is,
 * then a line "tick N" every second; --quiet sleeps without ticking, --once
 * exits. */
#include "guest.h"

MANIFEST();

int program(const struct boot *boot)
{
    print("hello from albatross: ");
    print(boot->command_line);
    print("\n");
    if (has_argument(boot, "--once"))
        return 0;
    if (has_argument(boot, "--quiet"))
        sleep_for_ever();
    for (u64 n = 1;; n++) {
        sleep_ms(1000);
        print("tick ");
        print_number(n);
        print("\n");
    }
}
