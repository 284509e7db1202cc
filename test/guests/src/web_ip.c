/* Ethernet, ARP, IPv4, and ICMP, for one interface. */
#include "web.h"

enum { ETHERNET = 14, HEADER = 20, ARP = 0x0806, IPV4 = 0x0800 };

struct interface interface;
const u8 broadcast[6] = {255, 255, 255, 255, 255, 255};

static u8 sent[65536];

int same(const u8 *a, const u8 *b, u32 length)
{
    while (length-- > 0)
        if (*a++ != *b++)
            return 0;
    return 1;
}

/* Nobody can tell the next one who does not see the clock of the processor. */
u64 random_number(void)
{
    static u64 state;

    state ^= cycles() | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* ---- sending ----------------------------------------------------------- */

static u16 sum(u64 n, const u8 *data, u32 length)
{
    for (; length > 1; data += 2, length -= 2)
        n += get16(data);
    if (length > 0)
        n += (u64)*data << 8;
    while (n >> 16)
        n = (n & 0xffff) + (n >> 16);
    return (u16)~n;
}

u16 checksum(u32 from, u32 to, u8 protocol, const u8 *data, u32 length)
{
    u64 pseudo = (u64)(from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + protocol + length;

    return sum(pseudo, data, length);
}

u8 *payload(void) { return sent + ETHERNET + HEADER; }

static void frame_send(const u8 *mac, u16 type, u32 length)
{
    memcpy(sent, mac, 6);
    memcpy(sent + 6, interface.device->u.net.mac, 6);
    put16(sent + 12, type);
    net_send(interface.device, 1, sent, ETHERNET + length);
}

void ip_send(const u8 *mac, u32 from, u32 to, u8 protocol, u32 length)
{
    static u16 number;
    u8 *p = sent + ETHERNET;

    memset(p, 0, HEADER);
    p[0] = 0x45;
    put16(p + 2, (u16)(HEADER + length));
    put16(p + 4, ++number);
    p[8] = 64; /* hops */
    p[9] = protocol;
    put32(p + 12, from);
    put32(p + 16, to);
    put16(p + 10, sum(0, p, HEADER));
    frame_send(mac, IPV4, HEADER + length);
}

void udp_send(const u8 *mac, u32 from, u32 to, u16 source, u16 target, u32 length)
{
    u8 *p = payload();
    u16 check;

    put16(p, source);
    put16(p + 2, target);
    put16(p + 4, (u16)(8 + length));
    put16(p + 6, 0);
    check = checksum(from, to, UDP, p, 8 + length);
    put16(p + 6, check ? check : 0xffff);
    ip_send(mac, from, to, UDP, 8 + length);
}

/* ---- ARP --------------------------------------------------------------- */

/* Only who was asked for is learned, so nobody can fill the table from outside. */
static struct {
    u32 address;
    int known;
    u8 mac[6];
} neighbours[8];

static void arp_send(u16 operation, const u8 *mac, u32 to)
{
    static const u8 head[6] = {0, 1, IPV4 >> 8, IPV4 & 255, 6, 4};
    u8 *p = sent + ETHERNET;

    memcpy(p, head, sizeof head);
    put16(p + 6, operation);
    memcpy(p + 8, interface.device->u.net.mac, 6);
    put32(p + 14, interface.address);
    memcpy(p + 18, mac, 6);
    put32(p + 24, to);
    frame_send(mac, ARP, 28);
}

static void arp_received(const u8 *p, u32 length)
{
    u32 from;

    if (length < 28 || get16(p) != 1 || get16(p + 2) != IPV4 || p[4] != 6 || p[5] != 4 || interface.address == 0)
        return;
    from = get32(p + 14);
    for (u32 i = 0; i < sizeof neighbours / sizeof *neighbours; i++)
        if (neighbours[i].address == from && from != 0) {
            neighbours[i].known = 1;
            memcpy(neighbours[i].mac, p + 8, 6);
        }
    if (get16(p + 6) == 1 && get32(p + 24) == interface.address)
        arp_send(2, p + 8, from);
}

const u8 *neighbour(u32 address)
{
    static u32 next;
    const u32 count = sizeof neighbours / sizeof *neighbours;
    u32 hop = (address ^ interface.address) & interface.mask ? interface.gateway : address;
    u32 i = 0;

    while (i < count && neighbours[i].address != hop)
        i++;
    if (i < count && neighbours[i].known)
        return neighbours[i].mac;
    if (i == count) {
        i = next++ % count;
        neighbours[i].address = hop;
        neighbours[i].known = 0;
    }
    arp_send(1, broadcast, hop);
    return 0;
}

/* ---- receiving --------------------------------------------------------- */

static void icmp_received(const u8 *mac, u32 from, const u8 *p, u32 length)
{
    u8 *answer = payload();

    if (length < 8 || p[0] != 8 || p[1] != 0 || sum(0, p, length) != 0)
        return;
    memcpy(answer, p, length);
    answer[0] = 0;
    put16(answer + 2, 0);
    put16(answer + 2, sum(0, answer, length));
    ip_send(mac, interface.address, from, ICMP, length);
}

static void ip_received(const u8 *mac, const u8 *p, u32 length)
{
    u32 header, total, from, to;
    u8 protocol;

    if (length < HEADER || p[0] >> 4 != 4)
        return;
    protocol = p[9];
    header = (p[0] & 15) * 4U;
    total = get16(p + 2);
    /* Parts of a packet are not put together. */
    if (header < HEADER || total < header || total > length || sum(0, p, header) != 0 || get16(p + 6) & 0x3fff)
        return;
    from = get32(p + 12);
    to = get32(p + 16);
    if (interface.address != 0 && to != interface.address)
        return;
    p += header;
    total -= header;
    if (protocol == UDP) {
        if (total >= 8 && get16(p + 4) >= 8 && get16(p + 4) <= total &&
            (get16(p + 6) == 0 || checksum(from, to, UDP, p, get16(p + 4)) == 0))
            udp_received(mac, from, p, get16(p + 4));
    } else if (interface.address == 0)
        return;
    else if (protocol == ICMP)
        icmp_received(mac, from, p, total);
    else if (protocol == TCP && checksum(from, to, TCP, p, total) == 0)
        tcp_received(mac, from, p, total);
}

void frame_received(const u8 *frame, u32 length)
{
    if (length < ETHERNET || (!same(frame, interface.device->u.net.mac, 6) && !same(frame, broadcast, 6)))
        return;
    if (get16(frame + 12) == ARP)
        arp_received(frame + ETHERNET, length - ETHERNET);
    else if (get16(frame + 12) == IPV4)
        ip_received(frame + 6, frame + ETHERNET, length - ETHERNET);
}
