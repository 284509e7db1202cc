/* exit [CODE [MS]] [refuse-name]: exits with CODE (0) after MS milliseconds;
 * with refuse-name it treats --name= as an argument it does not know and exits
 * with 64, as a MirageOS unikernel without that argument does. */
#include "guest.h"

MANIFEST();

static int has_name(const char *line)
{
    const char *option = "--name=";
    int n = 0;

    for (; *line && option[n]; line++)
        n = *line == option[n] ? n + 1 : 0;
    return option[n] == 0;
}

int program(const struct boot *boot)
{
    if (has_argument(boot, "refuse-name") && has_name(boot->command_line))
        return 64;
    sleep_ms(number(argument(boot, 1)));
    return (int)number(argument(boot, 0));
}
