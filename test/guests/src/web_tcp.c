/* TCP, as far as HTTP needs it: a connection carries one request and one answer, each small
 * enough to be kept whole. What is not acknowledged in time is sent again, from its beginning. */
#include "web.h"

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum { HEADER = 20, CONNECTIONS = 32, WINDOW = 8192, SHORTEST = 536 };
enum { AGAIN_MS = 250, TRIES = 8, IDLE_MS = 30000, LINGER_MS = 1000 };

static struct connection {
    enum { FREE, SYN_SENT, SYN_RECEIVED, OPEN, LINGERS } state;
    int client;                 /* ours is the request */
    int answered;               /* our part was written */
    enum { STAYS, ENDS, ENDED } end; /* of our direction: the FIN follows what is sent, or is acknowledged */
    int their_end;              /* their FIN has come */
    u8 mac[6];
    u16 port, their_port;
    u32 them;
    u32 first, next;            /* the first number that is not acknowledged, and the one behind all sent */
    u32 expected;               /* the next number of theirs */
    u32 window, segment;        /* how much they take, at all and at a time */
    u32 tries;
    u64 due;
    struct text received, sent; /* of sent, what is not acknowledged */
} connections[CONNECTIONS];

static u32 smaller(u32 a, u32 b) { return a < b ? a : b; }

static void send_segment(const struct connection *c, u8 flags, u32 number, const char *data, u32 length)
{
    u8 *p = payload();
    u32 header = HEADER;

    memset(p, 0, HEADER);
    put16(p, c->port);
    put16(p + 2, c->their_port);
    put32(p + 4, number);
    put32(p + 8, flags & ACK ? c->expected : 0);
    p[13] = flags;
    put16(p + 14, WINDOW);
    if (flags & SYN) { /* how much we take at a time */
        put16(p + HEADER, 2 << 8 | 4);
        put16(p + HEADER + 2, interface.device->u.net.mtu - 40);
        header += 4;
    }
    p[12] = (u8)(header / 4 << 4);
    memcpy(p + header, data, length);
    put16(p + 16, checksum(interface.address, c->them, TCP, p, header + length));
    ip_send(c->mac, interface.address, c->them, TCP, header + length);
}

static void acknowledge(const struct connection *c) { send_segment(c, ACK, c->next, 0, 0); }

/* Sends all that is not acknowledged, as far as they take it, or an acknowledgement. */
static void transmit(struct connection *c)
{
    u32 limit = smaller(c->sent.length, c->window ? c->window : 1);
    u32 at = 0;
    u8 flags;

    do {
        u32 n = smaller(limit - at, c->segment);
        flags = n > 0 ? ACK | PSH : ACK;
        if (at + n == c->sent.length && c->end == ENDS)
            flags |= FIN;
        send_segment(c, flags, c->first + at, c->sent.data + at, n);
        at += n;
    } while (at < limit);
    if (flags & FIN)
        at++;
    if ((i32)(c->first + at - c->next) > 0)
        c->next = c->first + at;
}

static void send_syn(const struct connection *c)
{
    send_segment(c, c->state == SYN_SENT ? SYN : SYN | ACK, c->first, 0, 0);
}

/* ---- time -------------------------------------------------------------- */

static int waits_for_them(const struct connection *c)
{
    return c->state == SYN_SENT || c->state == SYN_RECEIVED ||
           (c->state == OPEN && (c->sent.length > 0 || c->end == ENDS));
}

/* Sets when something is due, after a segment was received or sent. */
static void plan(struct connection *c)
{
    u64 wait = IDLE_MS;

    if (c->state == LINGERS)
        wait = LINGER_MS;
    else if (waits_for_them(c))
        wait = (u64)AGAIN_MS << c->tries;
    c->due = clock_ms() + wait;
}

/* Frees a connection. Who waits for an answer that has not come is told so. */
static void forget(struct connection *c)
{
    int told = c->answered > 1 || !c->client;

    c->state = FREE;
    if (!told)
        http_answered("");
}

u64 tcp_timer(u64 now)
{
    u64 next = NEVER;

    for (struct connection *c = connections; c < connections + CONNECTIONS; c++) {
        if (c->state == FREE)
            continue;
        if (c->due <= now) {
            if (c->state == LINGERS) {
                forget(c);
            } else if (!waits_for_them(c) || ++c->tries > TRIES) {
                send_segment(c, RST | ACK, c->next, 0, 0);
                forget(c);
            } else {
                c->state == OPEN ? transmit(c) : send_syn(c);
                plan(c);
            }
        }
        if (c->state != FREE && c->due < next)
            next = c->due;
    }
    return next;
}

/* ---- the beginning ----------------------------------------------------- */

/* Answers a connection that nobody needs any more, or 0: one that lingers, or that has only
 * begun, gives way. */
static struct connection *find_place(void)
{
    struct connection *found = 0;

    for (struct connection *c = connections; c < connections + CONNECTIONS; c++) {
        if (c->state == FREE)
            return c;
        if ((c->state == LINGERS || c->state == SYN_RECEIVED) && (found == 0 || c->due < found->due))
            found = c;
    }
    return found;
}

static struct connection *begin(const u8 *mac, u32 them, u16 their_port, u16 port)
{
    struct connection *c = find_place();

    if (c == 0)
        return 0;
    memset(c, 0, sizeof *c);
    memcpy(c->mac, mac, 6);
    c->them = them;
    c->their_port = their_port;
    c->port = port;
    c->first = (u32)random_number();
    c->next = c->first + 1;
    c->segment = SHORTEST;
    return c;
}

void tcp_connect(const u8 *mac, u32 to, u16 port)
{
    struct connection *c = begin(mac, to, port, (u16)(random_number() | 0xc000));

    if (c == 0) {
        http_answered("");
        return;
    }
    c->client = 1;
    c->state = SYN_SENT;
    send_syn(c);
    plan(c);
}

/* Takes what a SYN says about them. */
static void greet(struct connection *c, const u8 *segment, u32 header)
{
    u32 ours = interface.device->u.net.mtu - 40U;

    c->expected = get32(segment + 4) + 1;
    c->window = get16(segment + 14);
    for (u32 i = HEADER; i < header && segment[i] != 0;) {
        if (segment[i] == 1) {
            i++;
            continue;
        }
        if (header - i < 2 || segment[i + 1] < 2 || segment[i + 1] > header - i)
            break;
        if (segment[i] == 2 && segment[i + 1] == 4)
            c->segment = get16(segment + i + 2);
        i += segment[i + 1];
    }
    if (c->segment < 64) /* nobody means that */
        c->segment = 64;
    c->segment = smaller(c->segment, ours);
}

/* Handles a segment of no connection. */
static void refuse(const u8 *mac, u32 from, const u8 *segment, u8 flags, u32 length)
{
    struct connection c = {.them = from, .port = get16(segment + 2), .their_port = get16(segment)};

    if (flags & RST)
        return;
    memcpy(c.mac, mac, 6);
    c.expected = get32(segment + 4) + length + !!(flags & SYN) + !!(flags & FIN);
    if (flags & ACK)
        send_segment(&c, RST, get32(segment + 8), 0, 0);
    else
        send_segment(&c, RST | ACK, 0, 0, 0);
}

static void accept(const u8 *mac, u32 from, const u8 *segment, u32 header)
{
    struct connection *c = begin(mac, from, get16(segment), PORT_HTTP);

    if (c == 0)
        return; /* they will try again */
    c->state = SYN_RECEIVED;
    greet(c, segment, header);
    send_syn(c);
    plan(c);
}

/* ---- what is received -------------------------------------------------- */

/* Reports whether something was received, or as much as there is room for. */
static int has(const struct text *t, const char *what, u32 length)
{
    for (u32 i = 0; i + length <= t->length; i++)
        if (same((const u8 *)t->data + i, (const u8 *)what, length))
            return 1;
    return t->length == sizeof t->data - 1;
}

/* Says our part when theirs is there. */
static void converse(struct connection *c)
{
    if (c->client && c->answered == 1 && has(&c->received, "\n", 1)) {
        c->answered = 2;
        c->end = ENDS;
        http_answered(c->received.data);
    } else if (!c->client && !c->answered && has(&c->received, "\r\n\r\n", 4)) {
        http_answer(c->received.data, &c->sent);
        c->answered = 1;
        c->end = ENDS;
    }
    if (c->their_end && c->end == STAYS)
        c->end = ENDS;
}

/* Handles an acknowledgement of something that was sent. */
static void acknowledged(struct connection *c, u32 number)
{
    u32 count = number - c->first;
    u32 n = smaller(count, c->sent.length);

    memcpy(c->sent.data, c->sent.data + n, c->sent.length - n); /* to a lower place */
    c->sent.length -= n;
    c->first = number;
    c->tries = 0;
    if (count > n)
        c->end = ENDED;
}

static void connected(struct connection *c, u32 number)
{
    c->state = OPEN;
    c->first = number;
    c->tries = 0;
    if (c->client) {
        http_request(&c->sent);
        c->answered = 1;
    }
}

/* Handles the answer to a SYN of ours. */
static void syn_answered(struct connection *c, const u8 *segment, u8 flags, u32 header)
{
    u32 number = get32(segment + 8);

    if (!(flags & ACK) || number != c->next) {
        if (flags & ACK)
            refuse(c->mac, c->them, segment, flags, 0);
    } else if (flags & RST) {
        forget(c);
    } else if (flags & SYN) {
        greet(c, segment, header);
        connected(c, number);
        transmit(c);
        plan(c);
    }
}

static void receive(struct connection *c, const u8 *segment, u8 flags, u32 header, u32 length)
{
    u32 number = get32(segment + 8);
    u32 old = c->expected - get32(segment + 4); /* how much of it was received before */
    u32 total = length + !!(flags & FIN);

    if (flags & RST) {
        if (old == 0)
            forget(c);
        return;
    }
    if (flags & SYN && c->state == SYN_RECEIVED) {
        send_syn(c);
        return;
    }
    if (!(flags & ACK) || flags & SYN || old > total || (total > 0 && old == total) ||
        (i32)(number - c->next) > 0) {
        acknowledge(c); /* what comes too early will come again */
        return;
    }
    if ((i32)(number - c->first) > 0)
        c->state == SYN_RECEIVED ? connected(c, number) : acknowledged(c, number);
    if (c->state == SYN_RECEIVED)
        return;
    c->window = get16(segment + 14);
    if (total > 0 && !c->their_end) {
        for (u32 i = old; i < length && c->received.length < sizeof c->received.data - 1; i++)
            c->received.data[c->received.length++] = (char)segment[header + i];
        c->expected += total - old;
        c->their_end = flags & FIN;
    }
    converse(c);
    if (total > 0 || c->first + c->sent.length + (c->end == ENDS) != c->next)
        transmit(c);
    if (c->their_end && c->end == ENDED)
        c->state = LINGERS;
    plan(c);
}

void tcp_received(const u8 *mac, u32 from, const u8 *segment, u32 length)
{
    struct connection *c = connections;
    u32 header;
    u8 flags;

    if (length < HEADER)
        return;
    header = (segment[12] >> 4) * 4U;
    if (header < HEADER || header > length)
        return;
    flags = segment[13] & (FIN | SYN | RST | ACK);
    while (c < connections + CONNECTIONS && (c->state == FREE || c->them != from || c->their_port != get16(segment) || c->port != get16(segment + 2)))
        c++;
    if (c < connections + CONNECTIONS && c->state == LINGERS && flags == SYN) {
        forget(c); /* they begin anew */
        c = connections + CONNECTIONS;
    }
    if (c < connections + CONNECTIONS && c->state == SYN_SENT)
        syn_answered(c, segment, flags, header);
    else if (c < connections + CONNECTIONS)
        receive(c, segment, flags, header, length - header);
    else if (flags == SYN && get16(segment + 2) == PORT_HTTP)
        accept(mac, from, segment, header);
    else
        refuse(mac, from, segment, flags, length - header);
}
