/* fpu [probe]: computes with floating-point numbers in the ways in which
 * compilers do, and prints "computed" if all is right; otherwise it exits with
 * the number of what is wrong. probe adds two numbers at most. It is the only
 * program that is compiled with the registers for that. */
#include "guest.h"

MANIFEST();

typedef float vector __attribute__((vector_size(16)));
typedef float unaligned __attribute__((vector_size(16), aligned(4)));

/* Volatile, so that the compiler does not compute the results itself. */
static volatile double one = 1;
static volatile int count = 1000;

#ifdef __x86_64__
static int control_registers(void)
{
    u32 sse;
    u16 x87;

    __asm__ volatile("stmxcsr %0" : "=m"(sse));
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    return sse == 0x1f80 && x87 == 0x37f;
}
#else
static int control_registers(void)
{
    u64 control;

    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control == 0;
}
#endif

/* The first 1000 terms of the harmonic series. */
static int scalars(void)
{
    double sum = 0;

    for (int n = 1; n <= count; n++)
        sum += one / n;
    return (u64)(sum * 1e9) == 7485470860;
}

static int root(void)
{
    double two = one + one, r;

#ifdef __x86_64__
    __asm__("sqrtsd %1, %0" : "=x"(r) : "x"(two));
#else
    __asm__("fsqrt %d0, %d1" : "=w"(r) : "w"(two));
#endif
    return (u64)(r * 1e9) == 1414213562;
}

static int vectors(void)
{
    static vector a[64], b[64];
    static float c[4 * 64 + 1];

    for (int i = 0; i < 64; i++) {
        a[i] = (vector){i, i + 1, i + 2, i + 3};
        b[i] = a[i] * a[i] - 1;
        *(volatile unaligned *)(c + 4 * i + 1) = b[i] / 2;
    }
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 4; j++)
            if (c[4 * i + j + 1] != (float)((i + j) * (i + j) - 1) / 2)
                return 0;
    return 1;
}

#ifdef __x86_64__
/* Euler's number, with more digits than a double has. */
static int long_doubles(void)
{
    long double e = 1, term = one;

    for (int n = 1; n <= 25; n++) {
        term /= n;
        e += term;
    }
    return (u64)(e * 1e17L) == 271828182845904523;
}
#endif

/* What is in a register stays there while the tender works. The compiler has no
 * use for the last of the registers here. */
static int kept(void)
{
    vector before = {1.5, 2.5, 3.5, 4.5}, after;

#ifdef __x86_64__
    __asm__ volatile("movaps %0, %%xmm15" : : "m"(before));
#else
    __asm__ volatile("ldr q31, %0" : : "m"(before));
#endif
    sleep_ms(1);
    print("");
#ifdef __x86_64__
    __asm__ volatile("movaps %%xmm15, %0" : "=m"(after));
#else
    __asm__ volatile("str q31, %0" : "=m"(after));
#endif
    for (int i = 0; i < 4; i++)
        if (before[i] != after[i])
            return 0;
    return 1;
}

int program(const struct boot *boot)
{
    static int (*const checks[])(void) = {
        control_registers, scalars, root, vectors, kept,
#ifdef __x86_64__
        long_doubles,
#endif
    };

    if (has_argument(boot, "probe"))
        return one + one != 2;
    for (u64 i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!checks[i]())
            return i + 1;
    print("computed\n");
    return 0;
}
