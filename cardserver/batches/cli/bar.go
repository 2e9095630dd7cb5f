package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A bar shows progress in a terminal, and nothing elsewhere.
type bar struct {
	out    io.Writer
	screen Screen
	shown  *progressbar.ProgressBar // nil: there is none at present
	of     string                   // what the shown bar counts
}

func newBar(out io.Writer, s Screen) *bar { return &bar{out: out, screen: s} }

const barWidth = 30

// show makes the bar for one kind of progress, in the place of another one.
func (b *bar) show(of string, most int64, more ...progressbar.Option) *progressbar.ProgressBar {
	if b.shown != nil && b.of == of {
		return b.shown
	}
	b.clear()

	theme := progressbar.ThemeASCII
	if b.screen.Blocks {
		theme = progressbar.ThemeDefault
	}
	b.of = of
	b.shown = progressbar.NewOptions64(max(most, 1), append([]progressbar.Option{
		progressbar.OptionSetWriter(b.out), progressbar.OptionSetWidth(barWidth), progressbar.OptionSetTheme(theme),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false), progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionUseANSICodes(true), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100 * time.Millisecond),
	}, more...)...)
	return b.shown
}

// lines shows how far a batch is.
func (b *bar) lines(v view) {
	if !b.screen.Terminal {
		return
	}
	if v.Lines == nil || *v.Lines == 0 {
		b.show("reading", 1).Describe("the agent reads the file")
		return
	}

	p := b.show("lines", int64(*v.Lines))
	p.Describe(v.pace())
	_ = p.Set64(int64(min(v.Ended, *v.Lines-1))) // a full bar would be over
}

// pace is how fast a batch is, and how long it takes.
func (v view) pace() string {
	text := ""
	if left := *v.Lines - v.Ended; v.Rate > 0 && left > 0 {
		per, unit := v.Rate, "s"
		if per < 1 {
			per, unit = per*60, "min"
		}
		text = fmt.Sprintf("%.0f/%s, %v left", per, unit, time.Duration(float64(left)/v.Rate)*time.Second)
	}
	if v.Failed > 0 {
		text += fmt.Sprintf(", %s failed", number(int64(v.Failed)))
	}
	if v.State == paused {
		text += ", paused"
	}
	return text
}

// sending shows how much of a file is sent. It returns what to tell each number of bytes.
func (b *bar) sending(size int64) (sent func(n int)) {
	if !b.screen.Terminal {
		return func(int) {}
	}
	b.clear()
	p := b.show("sending", size, progressbar.OptionShowBytes(true))
	p.Describe("sending")
	return func(n int) { _ = p.Add(n) }
}

// clear removes the bar, so that a line of text can stand in its place.
func (b *bar) clear() {
	if b.shown != nil {
		_ = b.shown.Exit()
		_ = b.shown.Clear()
		b.shown = nil
	}
}
