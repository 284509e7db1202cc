/* The parts of web: web.c is the program, web_ip.c sends and receives packets of IPv4, web_tcp.c
 * has the connections, web_udp.c finds addresses by DHCP and DNS.
 *
 * Whatever arrives is checked where it is read: no length in it is believed beyond what has
 * arrived. All memory is static; tables that are full take no more. */
#ifndef WEB_H
#define WEB_H

#include "guest.h"

typedef int i32;

enum { ICMP = 1, TCP = 6, UDP = 17 };
enum { PORT_ECHO = 7, PORT_DHCP_SERVER = 67, PORT_DHCP = 68, PORT_DNS = 53, PORT_HTTP = 80 };

#define NEVER (~0UL)

static inline u16 get16(const u8 *p) { return (u16)(p[0] << 8 | p[1]); }
static inline u32 get32(const u8 *p) { return (u32)get16(p) << 16 | get16(p + 2); }
static inline void put16(u8 *p, u16 n) { p[0] = n >> 8, p[1] = (u8)n; }
static inline void put32(u8 *p, u32 n) { put16(p, n >> 16), put16(p + 2, (u16)n); }

/* ---- texts: web.c ------------------------------------------------------ */

struct text {
    u32 length;
    char data[768]; /* what does not fit is left out */
};

void add(struct text *t, const char *text);
void add_number(struct text *t, u64 n);
void add_address(struct text *t, u32 address);
void print_text(const struct text *t);
/* Answers 0 when the text is no address. Addresses are numbers: 10.0.0.1 is 0x0a000001. */
u32 parse_address(const char *text);

/* What a connection of HTTP has to say: an answer to a request, or the request of --fetch. */
void http_answer(const char *request, struct text *answer);
void http_request(struct text *request);
/* Takes the answer to that, or an empty text when there is none. */
void http_answered(const char *answer);

/* ---- packets: web_ip.c ------------------------------------------------- */

struct interface {
    struct device *device;
    u32 address, mask, gateway, dns; /* 0: not known */
};
extern struct interface interface;
extern const u8 broadcast[6];

int same(const u8 *a, const u8 *b, u32 length);
u64 random_number(void);

/* Handles a frame. */
void frame_received(const u8 *frame, u32 length);
/* The checksum of TCP and UDP, which is 0 where it is right. */
u16 checksum(u32 from, u32 to, u8 protocol, const u8 *data, u32 length);
/* What a packet carries is written to payload() and sent. */
u8 *payload(void);
void ip_send(const u8 *mac, u32 from, u32 to, u8 protocol, u32 length);
/* Sends what was written to payload() + 8. */
void udp_send(const u8 *mac, u32 from, u32 to, u16 source, u16 target, u32 length);
/* Answers the hardware address that leads to an address, or 0 when that has yet to be asked
 * for. */
const u8 *neighbour(u32 address);

/* ---- connections: web_tcp.c -------------------------------------------- */

void tcp_received(const u8 *mac, u32 from, const u8 *segment, u32 length);
void tcp_connect(const u8 *mac, u32 to, u16 port);
/* Does what is due, and answers when something will be. So do the other timers. */
u64 tcp_timer(u64 now);

/* ---- addresses: web_udp.c ---------------------------------------------- */

void udp_received(const u8 *mac, u32 from, const u8 *packet, u32 length);
u64 dhcp_timer(u64 now);
/* Asks for the address of a name, once. */
void dns_ask(const u8 *mac, const char *name);
/* Takes the answer; 0: there is no such name. */
void dns_answered(u32 address);

#endif
