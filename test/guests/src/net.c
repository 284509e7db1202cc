/* net: tells MAC and MTU of the network device "service", then sends each
 * frame back to where it came from, from its own address. */
#include "guest.h"

MANIFEST({.name = "service", .type = DEVICE_NET});

static u8 frame[65536];

static void print_mac(const u8 *mac)
{
    char text[18] = "";

    for (int i = 0; i < 6; i++) {
        text[3 * i] = "0123456789abcdef"[mac[i] >> 4];
        text[3 * i + 1] = "0123456789abcdef"[mac[i] & 15];
        text[3 * i + 2] = i < 5 ? ':' : 0;
    }
    print(text);
}

int program(const struct boot *boot)
{
    struct device *d = &boot->manifest->devices[1];

    print_mac(d->u.net.mac);
    print(" mtu ");
    print_number(d->u.net.mtu);
    print("\n");
    for (;;) {
        u64 length = net_receive(d, 1, frame, sizeof frame);
        for (int i = 0; i < 6; i++) {
            frame[i] = frame[6 + i];
            frame[6 + i] = d->u.net.mac[i];
        }
        net_send(d, 1, frame, length);
    }
}
