/* several: declares three devices, one block and two networks, and exits; for
 * whoever checks manifests. With the argument "wait" it says so, and stays. */
#include "guest.h"

MANIFEST({.name = "storage", .type = DEVICE_BLOCK},
         {.name = "service", .type = DEVICE_NET},
         {.name = "management", .type = DEVICE_NET});

int program(const struct boot *boot)
{
    if (has_argument(boot, "wait")) {
        print("waits\n");
        sleep_for_ever();
    }
    return (int)boot->manifest->count - 4;
}
