/* What is asked and answered by UDP: echo, DHCP, and DNS. */
#include "web.h"

/* ---- DHCP -------------------------------------------------------------- */

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };
enum { FIXED = 236, MAGIC = 0x63825363, SHORTEST = 300, DHCP_AGAIN_MS = 1000 };

static u32 transaction, offered, server;
static u64 dhcp_due;

static u8 *put_option(u8 *p, u8 kind, u32 value)
{
    p[0] = kind;
    p[1] = 4;
    put32(p + 2, value);
    return p + 6;
}

static void dhcp_send(void)
{
    static const u8 wanted[] = {55, 3, 1, 3, 6};
    u8 *m = payload() + 8;
    u8 *p = m + FIXED + 4;

    memset(m, 0, SHORTEST);
    m[0] = 1; /* a question */
    m[1] = 1, m[2] = 6;
    put32(m + 4, transaction);
    put16(m + 10, 0x8000); /* broadcast the answer */
    memcpy(m + 28, interface.device->u.net.mac, 6);
    put32(m + FIXED, MAGIC);
    *p++ = 53, *p++ = 1, *p++ = offered ? REQUEST : DISCOVER;
    if (offered) {
        p = put_option(p, 50, offered);
        p = put_option(p, 54, server);
    }
    memcpy(p, wanted, sizeof wanted);
    p[sizeof wanted] = 255;
    udp_send(broadcast, 0, 0xffffffff, PORT_DHCP, PORT_DHCP_SERVER, SHORTEST);
}

u64 dhcp_timer(u64 now)
{
    static int asked;

    if (interface.address != 0)
        return NEVER;
    if (now < dhcp_due)
        return dhcp_due;
    if (asked++ % 4 == 0) { /* whoever has offered may be gone */
        transaction = (u32)random_number();
        offered = 0;
    }
    dhcp_send();
    return dhcp_due = now + DHCP_AGAIN_MS;
}

/* What an answer says; 0: nothing about it. */
struct answer {
    u32 kind, mask, gateway, dns, server;
};

static struct answer dhcp_options(const u8 *p, const u8 *end)
{
    struct answer a = {0};

    while (p < end && *p != 255) {
        if (*p == 0) {
            p++;
            continue;
        }
        if (end - p < 2 || end - p < 2 + p[1])
            break;
        if (*p == 53 && p[1] == 1)
            a.kind = p[2];
        if (p[1] >= 4) {
            u32 value = get32(p + 2);
            switch (*p) {
            case 1: a.mask = value; break;
            case 3: a.gateway = value; break;
            case 6: a.dns = value; break;
            case 54: a.server = value; break;
            }
        }
        p += 2 + p[1];
    }
    return a;
}

static void dhcp_received(const u8 *m, u32 length)
{
    struct answer a;

    if (interface.address != 0 || length < FIXED + 4 || m[0] != 2 || get32(m + 4) != transaction ||
        !same(m + 28, interface.device->u.net.mac, 6) || get32(m + FIXED) != MAGIC)
        return;
    a = dhcp_options(m + FIXED + 4, m + length);
    if (a.kind == OFFER && offered == 0 && get32(m + 16) != 0) {
        offered = get32(m + 16);
        server = a.server;
        dhcp_send();
    } else if (a.kind == ACK && offered != 0 && get32(m + 16) == offered) {
        interface.mask = a.mask;
        interface.gateway = a.gateway;
        if (interface.dns == 0)
            interface.dns = a.dns;
        interface.address = offered;
    } else if (a.kind == NAK)
        offered = 0;
}

/* ---- DNS --------------------------------------------------------------- */

enum { TYPE_A = 1, CLASS_IN = 1, DNS_SOURCE = 49153 };

static u16 question;

/* Writes the labels of a name, and answers the place behind it, or 0 if it is none. */
static u8 *put_name(u8 *p, const char *name)
{
    for (;;) {
        u8 *count = p++;
        for (*count = 0; *name && *name != '.' && *count < 63; ++*count)
            *p++ = (u8)*name++;
        if (*count == 0 || (*name && *name != '.'))
            return 0;
        if (*name == 0) {
            *p++ = 0;
            return p;
        }
        name++;
    }
}

void dns_ask(const u8 *mac, const char *name)
{
    u8 *m = payload() + 8;
    u8 *p;

    memset(m, 0, 12);
    question = (u16)random_number() | 1;
    put16(m, question);
    put16(m + 2, 0x0100); /* ask others for me */
    put16(m + 4, 1);
    if ((p = put_name(m + 12, name)) == 0) {
        dns_answered(0);
        return;
    }
    put16(p, TYPE_A);
    put16(p + 2, CLASS_IN);
    udp_send(mac, interface.address, interface.dns, DNS_SOURCE, PORT_DNS, (u32)(p + 4 - m));
}

/* Answers the place behind a name, or 0 if it does not end in time. */
static const u8 *behind_name(const u8 *p, const u8 *end)
{
    while (p < end) {
        if (*p == 0)
            return p + 1;
        if (*p >= 0xc0) /* the rest is elsewhere */
            return p + 2;
        p += 1 + *p;
    }
    return 0;
}

static void dns_received(const u8 *m, u32 length)
{
    const u8 *end = m + length;
    const u8 *p = m + 12;
    u16 answers;

    if (length < 12 || question == 0 || get16(m) != question || (m[2] & 0x80) == 0 || get16(m + 4) != 1)
        return;
    question = 0;
    answers = m[3] & 15 ? 0 : get16(m + 6);
    if ((p = behind_name(p, end)))
        p += 4;
    while (answers-- > 0 && p && (p = behind_name(p, end)) && p <= end - 10) {
        u16 size = get16(p + 8);
        if (get16(p) == TYPE_A && get16(p + 2) == CLASS_IN && size == 4 && p <= end - 14) {
            dns_answered(get32(p + 10));
            return;
        }
        p += 10 + size;
    }
    dns_answered(0);
}

/* ---- all --------------------------------------------------------------- */

void udp_received(const u8 *mac, u32 from, const u8 *packet, u32 length)
{
    u16 source = get16(packet);

    switch (get16(packet + 2)) {
    case PORT_ECHO:
        if (interface.address == 0 || source == PORT_ECHO) /* that would go on for ever */
            return;
        memcpy(payload() + 8, packet + 8, length - 8);
        udp_send(mac, interface.address, from, PORT_ECHO, source, length - 8);
        break;
    case PORT_DHCP:
        if (source == PORT_DHCP_SERVER)
            dhcp_received(packet + 8, length - 8);
        break;
    case DNS_SOURCE:
        if (source == PORT_DNS && from == interface.dns)
            dns_received(packet + 8, length - 8);
    }
}
