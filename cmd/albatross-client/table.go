package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// A table is a listing in columns. The first row holds their titles.
type table struct {
	rows [][]string
	// least are the numbers of columns that a narrow terminal does without, the first one first.
	least []int
	// colour returns the number of the colour of a cell, as in ECMA-48; nil, or 0: none.
	colour func(row, column int) int
}

// columnGap is between two columns.
const columnGap = "  "

// fit returns the table in lines of at most so many characters; 0: as long as they get. What
// does not fit is left out: first columns, then the ends of lines.
func (t table) fit(width int) string {
	shown := make([]bool, len(t.rows[0]))
	for i := range shown {
		shown[i] = true
	}
	widths := t.widths()
	for _, column := range t.least {
		if width == 0 || total(widths, shown) <= width {
			break
		}
		shown[column] = false
	}
	lines := make([]string, len(t.rows))
	for i := range t.rows {
		lines[i] = t.line(i, widths, shown, width)
	}
	return strings.Join(lines, "\n")
}

func (t table) widths() []int {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func total(widths []int, shown []bool) (sum int) {
	for i, w := range widths {
		if shown[i] {
			sum += w + len(columnGap)
		}
	}
	return sum - len(columnGap)
}

// line returns a row. The last cell is not padded.
func (t table) line(row int, widths []int, shown []bool, width int) string {
	var line strings.Builder
	last, used := lastShown(shown), 0
	for i, cell := range t.rows[row] {
		if !shown[i] {
			continue
		}
		if width > 0 {
			cell = cut(cell, width-used)
		}
		pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))) + columnGap
		if i == last {
			pad = ""
		}
		line.WriteString(t.coloured(row, i, cell) + pad)
		used += widths[i] + len(columnGap)
	}
	return strings.TrimRight(line.String(), " ")
}

func lastShown(shown []bool) (last int) {
	for i, s := range shown {
		if s {
			last = i
		}
	}
	return last
}

func (t table) coloured(row, column int, cell string) string {
	if t.colour == nil || cell == "" {
		return cell
	}
	if n := t.colour(row, column); n != 0 {
		return fmt.Sprintf("\x1b[%dm%s\x1b[0m", n, cell)
	}
	return cell
}

// cut shortens a text to so many characters.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string([]rune(s)[:width-1]) + "…"
}

// forHumans returns a duration in its two largest units.
func forHumans(d time.Duration) string {
	d = max(d, 0)
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}

// cpuText returns how much CPU time was used.
func cpuText(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return forHumans(d)
}

// bytesText returns a size in the largest unit in which it is at least 1.
func bytesText(n int64) string {
	units := []string{"B", "K", "M", "G", "T"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	if unit == 0 || size >= 9.95 {
		return fmt.Sprintf("%.0f%s", size, units[unit])
	}
	return fmt.Sprintf("%.1f%s", size, units[unit])
}

// megabytesText is bytesText for a size in MB.
func megabytesText(n int) string {
	return strings.TrimSuffix(strings.Replace(bytesText(int64(n)<<20), ".0", "", 1), "")
}
