/* badcall KIND: does something its tender must not allow, and says so if it
 * is still alive afterwards. The kinds are those of misbehave in the layer of
 * the target. */
#include "guest.h"

MANIFEST();

int program(const struct boot *boot)
{
    if (!misbehave(argument(boot, 0)))
        return 64;
    print("survived\n");
    return 0;
}
