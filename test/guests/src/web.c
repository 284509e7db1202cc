/* web: serves HTTP on port 80 of the network device "service", and answers ARP, pings, and UDP
 * on port 7.
 *
 *   --ipv4=A.B.C.D/LEN --ipv4-gateway=G   its address; else it asks by DHCP
 *   --dns=A                               whom to ask for names; else whom DHCP tells
 *   --text=TEXT                           what it serves; else the label of --name
 *   --fetch=NAME[:PORT]                   looks up a name, and tells the first line that is
 *                                         served there
 *
 * It prints its address, "NAME is ADDRESS", and that line. What --fetch asks for it asks again
 * after a second, until there is an answer. */
#include "web.h"

MANIFEST({.name = "service", .type = DEVICE_NET});

static u8 frame[65536];
static char served[128], fetched[128];
static u64 requests;

/* ---- texts ------------------------------------------------------------- */

void add(struct text *t, const char *text)
{
    while (*text && t->length < sizeof t->data - 1)
        t->data[t->length++] = *text++;
    t->data[t->length] = 0;
}

void add_number(struct text *t, u64 n)
{
    char digits[21] = "";
    int first = sizeof digits - 1;

    do
        digits[--first] = '0' + n % 10;
    while (n /= 10);
    add(t, digits + first);
}

void add_address(struct text *t, u32 address)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        add_number(t, address >> shift & 255);
        if (shift > 0)
            add(t, ".");
    }
}

void print_text(const struct text *t) { console_write(t->data, t->length); }

u32 parse_address(const char *text)
{
    u32 address = 0;

    for (int i = 0; i < 4; i++) {
        u64 n = 256;
        if (*text >= '0' && *text <= '9')
            n = number(text);
        while (*text >= '0' && *text <= '9')
            text++;
        if (n > 255 || *text != (i < 3 ? '.' : 0))
            return 0;
        text++;
        address = address << 8 | (u32)n;
    }
    return address;
}

static int begins(const char *text, const char *with)
{
    while (*with)
        if (*text++ != *with++)
            return 0;
    return 1;
}

/* Cuts a text at the first of some character, and answers what is behind it, or 0. */
static char *cut(char *text, char at)
{
    for (; *text; text++)
        if (*text == at) {
            *text = 0;
            return text + 1;
        }
    return 0;
}

/* ---- what is served ---------------------------------------------------- */

void http_answer(const char *request, struct text *answer)
{
    struct text body = {0};
    const char *status = "405 Method Not Allowed";

    if (begins(request, "GET / "))
        status = "200 OK";
    else if (begins(request, "GET "))
        status = "404 Not Found";
    if (begins(status, "200")) {
        add(&body, served);
        add(&body, "\naddress ");
        add_address(&body, interface.address);
        add(&body, "\nrequest ");
        add_number(&body, ++requests);
    } else
        add(&body, status);
    add(&body, "\n");
    add(answer, "HTTP/1.1 ");
    add(answer, status);
    add(answer, "\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: ");
    add_number(answer, body.length);
    add(answer, "\r\n\r\n");
    add(answer, body.data);
}

/* ---- what is fetched --------------------------------------------------- */

static enum { NOTHING, WAITS, LOOKS_UP, HAS_ADDRESS, CONNECTS, DONE } fetching;
static u32 target;
static u16 target_port = PORT_HTTP;
static u64 fetch_due;

/* Prints why there is nothing yet, at the first time only, and tries again later. */
static void fetch_failed(const char *why)
{
    static int told;
    struct text t = {0};

    fetching = WAITS;
    fetch_due = clock_ms() + 1000;
    if (told)
        return;
    told = 1;
    add(&t, fetched);
    add(&t, why);
    print_text(&t);
}

void dns_answered(u32 address)
{
    struct text t = {0};

    if (fetching != LOOKS_UP)
        return;
    if (address == 0) {
        fetch_failed(" is unknown\n");
        return;
    }
    fetching = HAS_ADDRESS;
    fetch_due = 0;
    if (target == address)
        return;
    target = address;
    add(&t, fetched);
    add(&t, " is ");
    add_address(&t, target);
    add(&t, "\n");
    print_text(&t);
}

void http_request(struct text *request)
{
    add(request, "GET / HTTP/1.1\r\nHost: ");
    add(request, fetched);
    add(request, "\r\nConnection: close\r\n\r\n");
}

void http_answered(const char *answer)
{
    struct text t = {0};

    if (fetching != CONNECTS)
        return;
    if (*answer == 0) {
        fetch_failed(" does not answer\n");
        return;
    }
    fetching = DONE;
    add(&t, answer);
    cut(t.data, '\r');
    print(t.data);
    print("\n");
}

/* Every step asks for something, and again after a second. */
static u64 fetch_timer(u64 now)
{
    const u8 *mac;
    u32 ask = fetching == HAS_ADDRESS ? target : interface.dns;

    if (fetching == NOTHING || fetching == DONE || fetching == CONNECTS || interface.address == 0)
        return NEVER;
    if (now < fetch_due)
        return fetch_due;
    fetch_due = now + 1000;
    if (fetching == WAITS)
        fetching = LOOKS_UP;
    if (fetching == LOOKS_UP && parse_address(fetched)) {
        dns_answered(parse_address(fetched));
    } else if (ask == 0) {
        fetch_failed(" is unknown\n");
    } else if ((mac = neighbour(ask)) == 0) {
        fetch_due = now + 100;
    } else if (fetching == LOOKS_UP) {
        dns_ask(mac, fetched);
    } else {
        fetching = CONNECTS;
        tcp_connect(mac, target, target_port);
    }
    return fetch_due;
}

/* ---- the program ------------------------------------------------------- */

static void tell_address(void)
{
    struct text t = {0};

    add(&t, "address ");
    add_address(&t, interface.address);
    add(&t, "\n");
    print_text(&t);
}

static void take_arguments(const struct boot *boot)
{
    char value[64];
    char *length;

    if (option(boot, "--ipv4=", value, sizeof value) && (length = cut(value, '/'))) {
        interface.address = parse_address(value);
        interface.mask = (u32)(0xffffffff00000000UL >> (number(length) & 63));
    }
    if (option(boot, "--ipv4-gateway=", value, sizeof value))
        interface.gateway = parse_address(value);
    if (option(boot, "--dns=", value, sizeof value))
        interface.dns = parse_address(value);
    if (!option(boot, "--text=", served, sizeof served))
        option(boot, "--name=", served, sizeof served);
    if (option(boot, "--fetch=", fetched, sizeof fetched)) {
        char *port = cut(fetched, ':');
        if (port)
            target_port = (u16)number(port);
        fetching = WAITS;
    }
}

static u64 earlier(u64 a, u64 b) { return a < b ? a : b; }

int program(const struct boot *boot)
{
    u32 told = 0;

    interface.device = &boot->manifest->devices[1];
    take_arguments(boot);
    for (;;) {
        u64 now = clock_ms();
        u64 next = earlier(now + 3600 * 1000, dhcp_timer(now));
        if (interface.address != told)
            tell_address();
        told = interface.address;
        next = earlier(next, earlier(tcp_timer(now), fetch_timer(now)));
        u64 length = net_receive_within(interface.device, 1, frame, sizeof frame, next > now ? next - now : 1);
        if (length > 0)
            frame_received(frame, (u32)length);
    }
}
