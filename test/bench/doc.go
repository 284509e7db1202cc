// Package bench measures the daemon as its clients see it, each time beside a
// yardstick in the same run: how long a unikernel takes to start, and whether
// that grows with how many there are; how fast block devices are moved; and what
// events, and the lines of consoles, cost.
//
// What it reports are medians and ratios. The machine is shared, so a time alone
// says little.
package bench
