package waterfall

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"errand/cardserver/trace"
)

// Widths, in columns.
const (
	usualWidth = 80
	leastWidth = 40
	leastLabel = 14
	leastBar   = 6
	numbers    = 9 // of a column of numbers
)

// Bars, by kind: a run, a reply of the model, a call, a wait.
const (
	aRun = iota
	aReply
	aCall
	aWait
)

var (
	blocks = [...]string{"─", "░", "█", "·"}
	ascii  = [...]string{"=", "-", "#", "."}
)

// A row is one line of the picture, with a bar if its times are known.
type row struct {
	depth  int
	label  string
	kind   int
	from   *time.Time
	to     *time.Time // nil: it is not over
	spent  *trace.Spent
	said   string   // a line below
	detail []string // lines below, of the content
}

// draw draws the picture: a head, a line for each run, step and call, and the webhooks.
func draw(s *story, screen Screen, details bool) []string {
	rows := rowsOf(s)
	begin, end := span(s, rows)
	p := picture{screen: screen, width: screen.Width, begin: begin, end: end, currency: s.Spent.Currency}
	if p.width < leastWidth {
		p.width = max(leastWidth, cmp.Or(p.width, usualWidth))
	}

	lines := head(s, begin, end)
	if len(rows) > 0 {
		p.measure(rows)
		lines = append(lines, "", p.axis())
	}
	for _, r := range rows {
		lines = append(lines, p.line(r))
		if r.said != "" {
			lines = append(lines, indent(r.depth+1)+r.said)
		}
		if details {
			for _, d := range r.detail {
				lines = append(lines, indent(r.depth+1)+d)
			}
		}
	}

	lines = append(lines, tail(s, details)...)
	for i, l := range lines {
		lines[i] = cut(plain(l), p.width)
	}
	return lines
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// rowsOf are the rows in the order of the runs.
func rowsOf(s *story) (rows []row) {
	steps := map[int64][]trace.Step{}
	for _, n := range slices.Sorted(maps.Keys(s.steps)) {
		steps[s.steps[n].Run] = append(steps[s.steps[n].Run], s.steps[n])
	}

	runs := slices.Clone(s.Runs)
	for n := range steps {
		if !slices.ContainsFunc(runs, func(r trace.Run) bool { return r.Number == n }) {
			runs = append(runs, trace.Run{Number: n, End: trace.RunUnknown})
		}
	}
	slices.SortFunc(runs, func(a, b trace.Run) int { return cmp.Compare(a.Number, b.Number) })

	for i, r := range runs {
		rows = append(rows, runRow(s, r))
		last := r.BegunAt
		for _, n := range steps[r.Number] {
			rows, last = append(rows, stepRows(n, last)...), ended(n, last)
		}
		rows = append(rows, answer(s, r, i == len(runs)-1, steps[r.Number], last)...)

		if i+1 < len(runs) && r.EndedAt != nil && r.End != trace.RunEnded && runs[i+1].BegunAt != nil {
			rows = append(rows, row{label: "wait", kind: aWait, from: r.EndedAt, to: runs[i+1].BegunAt, said: quoted(r.Why)})
		}
	}

	if w := s.Wait; w != nil {
		rows = append(rows, waitRow(s, *w))
	}
	return rows
}

func runRow(s *story, r trace.Run) row {
	out := row{label: fmt.Sprintf("run %d", r.Number), kind: aRun, from: r.BegunAt, to: r.EndedAt}
	switch {
	case r.Number == 0:
		out.label = "steps without a run"
	case s.TurnCount > 1 && r.Turn > 0:
		out.label += fmt.Sprintf(", turn %d", r.Turn)
	}
	if r.End != trace.RunEnded && r.End != trace.RunRunning {
		out.label += " " + r.End
	}
	if r.End == trace.RunUnknown || r.BegunAt == nil {
		out.from = nil // no bar says more than is known
	}
	if n := len(s.Runs); n > 0 && s.Runs[n-1].Number == r.Number && len(s.Turns) > 0 {
		out.spent = s.Turns[len(s.Turns)-1].Spent
		if r.Turn != s.Turns[len(s.Turns)-1].Number || n > 1 && s.Runs[n-2].Turn == r.Turn {
			out.spent = nil // it is that of several runs
		}
	}
	return out
}

// stepRows are the rows of a step and its calls. The reply came after last.
func stepRows(n trace.Step, last *time.Time) []row {
	if !n.Known {
		return []row{{depth: 1, label: fmt.Sprintf("step %d not kept", n.Number)}}
	}
	step := row{depth: 1, label: fmt.Sprintf("step %d", n.Number), kind: aReply, from: last, to: n.At, spent: n.Spent}
	if n.Question != nil {
		step.said = fmt.Sprintf("A person is asked about call %d.", n.Question.Call)
		if n.Question.Answer != "" {
			step.said = fmt.Sprintf("A person answered about call %d.", n.Question.Call)
		}
	}

	rows := []row{step}
	for _, c := range n.Calls {
		rows = append(rows, callRow(c))
	}
	return rows
}

func callRow(c trace.Call) row {
	r := row{depth: 2, label: c.Name, kind: aCall, from: c.FirstAt, to: c.ResultAt}
	if c.State != trace.CallDone && c.State != trace.CallRunning {
		r.label += " " + c.State
		r.to = cmp.Or(c.ResultAt, c.BegunAt)
	}
	if c.Times > 1 {
		r.label += fmt.Sprintf(" (%d times)", c.Times)
	}

	if c.WaitUntil != nil {
		r.said = "It begins again at " + c.WaitUntil.Format(time.RFC3339)
		if c.OrTold {
			r.said += ", or when a word comes from outside"
		}
		r.said += "."
	}
	r.detail = []string{"args   " + contentOf(c.Args)}
	if c.Result != nil {
		r.detail = append(r.detail, "result "+contentOf(c.Result))
	}

	return r
}

// ended is when the last call of a step had its result, or last if none is later.
func ended(n trace.Step, last *time.Time) *time.Time {
	for _, t := range append([]*time.Time{n.At}, resultTimes(n)...) {
		if t != nil && (last == nil || t.After(*last)) {
			last = t
		}
	}
	return last
}

func resultTimes(n trace.Step) (times []*time.Time) {
	for _, c := range n.Calls {
		times = append(times, c.ResultAt)
	}
	return times
}

// answer is the row of the reply after the last step: the one that ended the turn, or the one
// that is under way.
func answer(s *story, r trace.Run, newest bool, steps []trace.Step, last *time.Time) []row {
	open := len(steps) > 0 && steps[len(steps)-1].Open
	if last == nil || open || r.End != trace.RunEnded && r.End != trace.RunRunning {
		return nil
	}
	a := row{depth: 1, label: "answer", kind: aReply, from: last, to: r.EndedAt}
	if r.End == trace.RunRunning {
		a.label = "reply"
		return []row{a}
	}
	if newest && len(s.Turns) > 0 {
		a.spent = rest(s)
	}
	return []row{a}
}

// rest is the cost of the newest turn without its steps; nil: not known.
func rest(s *story) *trace.Spent {
	turn := s.Turns[len(s.Turns)-1]
	if turn.Spent == nil {
		return nil
	}
	left := *turn.Spent
	for _, n := range s.steps {
		if n.Turn != turn.Number || n.Spent == nil {
			continue
		}
		left.Prompt, left.Output, left.Thought = left.Prompt-n.Spent.Prompt, left.Output-n.Spent.Output, left.Thought-n.Spent.Thought
		if left.Price != nil && n.Spent.Price != nil {
			price := max(0, *left.Price-*n.Spent.Price)
			left.Price = &price
		}
	}
	if left.Tokens() <= 0 {
		return nil
	}
	return &left
}

func waitRow(s *story, w trace.Wait) row {
	r := row{label: "wait for " + w.For, kind: aWait, from: &s.StateAt, said: quoted(w.Why)}
	switch w.For {
	case trace.WaitWorker:
		r.label = "wait for a worker"
	case trace.WaitClient:
		r.label, r.from = "wait for a message", nil // it may last for weeks, and would hide the rest
	case trace.WaitPark, trace.WaitRetry:
		r.label = "wait"
	}
	if n := len(s.Runs); n > 0 && s.Runs[n-1].EndedAt != nil && r.from != nil {
		r.from = s.Runs[n-1].EndedAt
	}
	if w.Until != nil {
		r.said = strings.TrimSpace(r.said + " Until " + w.Until.Format(time.RFC3339) + ".")
	}
	return r
}

// span is the time that the picture is of.
func span(s *story, rows []row) (begin, end time.Time) {
	begin, end = s.StateAt, s.StateAt
	if !s.Done {
		end = s.Now
	}
	see := func(t *time.Time) {
		if t == nil {
			return
		}
		if t.Before(begin) {
			begin = *t
		}
		if t.After(end) {
			end = *t
		}
	}

	for _, r := range rows {
		see(r.from)
		see(r.to)
	}
	if len(s.Turns) > 0 && s.TurnCount == 1 {
		see(s.Turns[0].BegunAt)
	}
	return begin, end
}

// head says in a few lines what became of the task and what it cost.
func head(s *story, begin, end time.Time) []string {
	state := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s.State, "TASK_STATE_"), "_", " "))
	lines := []string{
		"task " + s.Task,
		fmt.Sprintf("%s, %s since %s", state, took(end.Sub(begin)), begin.Format(time.RFC3339)),
		fmt.Sprintf("%s, %s, %s", count(s.TurnCount, "turn"), count(len(s.Runs)+int(s.UnknownRuns), "run"), count(s.StepCount, "step")),
	}

	if c := s.Spent; c.Replies > 0 {
		text := fmt.Sprintf("%s tokens: %s in, %s out, %s thought", grouped(c.Tokens()), grouped(c.Prompt), grouped(c.Output), grouped(c.Thought))
		if c.Cached > 0 {
			text += fmt.Sprintf(" (%s cached)", grouped(c.Cached))
		}
		if c.Price != nil {
			text += fmt.Sprintf("; %s %s", price(*c.Price), c.Currency)
		}
		lines = append(lines, text)
	}
	if s.Spent.Unknown > 0 {
		lines = append(lines, count(int(s.Spent.Unknown), "more reply")+" of unknown cost")
	}

	for _, r := range s.Runs {
		if r.LeftOut != "" {
			lines = append(lines, fmt.Sprintf("Run %d was not shown of the conversation: %s", r.Number, quoted(r.LeftOut)))
		}
	}

	if s.UnknownRuns > 0 {
		lines = append(lines, fmt.Sprintf("Nothing is known of %s.", count(int(s.UnknownRuns), "run")))
	}
	return lines
}

// tail has the stored results and the webhooks.
func tail(s *story, details bool) (lines []string) {
	if len(s.results) > 0 {
		lines = append(lines, "", count(len(s.results), "stored result")+" of the agent's own code:")
		for _, r := range s.results {
			text := fmt.Sprintf("  turn %d  %s", r.Turn, r.Name)
			if details {
				text += "  " + contentOf(r.Result)
			}
			lines = append(lines, text)
		}
	}

	if len(s.Deliveries) > 0 {
		lines = append(lines, "")
	}
	for _, d := range s.Deliveries {
		text := fmt.Sprintf("webhook %s (%s) %s: %d of %s delivered", d.Origin, d.ID, d.State, d.Sent, count(d.Notes, "note"))
		if n := len(d.Attempts); n > 0 {
			a := d.Attempts[n-1]
			text += fmt.Sprintf("; last attempt %s: %s", a.At.Format(time.RFC3339), cmp.Or(a.Error, fmt.Sprint(a.Status)))
		}
		if d.NextAt != nil {
			text += "; next " + d.NextAt.Format(time.RFC3339)
		}
		lines = append(lines, text)
	}
	return lines
}

// A picture is the place of the columns.
type picture struct {
	screen     Screen
	width      int
	label, bar int
	begin, end time.Time
	currency   string
}

// measure gives the labels what they need, and the bars the rest.
func (p *picture) measure(rows []row) {
	right := 2 * (numbers + 1)
	if p.currency != "" {
		right += numbers + 1
	}
	for _, r := range rows {
		p.label = max(p.label, utf8.RuneCountInString(indent(r.depth)+plain(r.label)))
	}
	p.label = min(p.label, max(leastLabel, (p.width-right)/2))
	if p.bar = p.width - right - p.label - 1; p.bar < leastBar {
		p.bar = 0
	}
}

// axis is the line above the bars.
func (p *picture) axis() string {
	scale := ""
	if p.bar > 0 {
		length := took(p.end.Sub(p.begin))
		scale = " 0" + strings.Repeat(" ", max(1, p.bar-1-len(length))) + length
	}
	line := pad("", p.label) + scale + fmt.Sprintf(" %*s %*s", numbers, "time", numbers, "tokens")
	if p.currency != "" {
		line += fmt.Sprintf(" %*s", numbers, p.currency)
	}
	return line
}

func (p *picture) line(r row) string {
	text := pad(cut(indent(r.depth)+plain(r.label), p.label), p.label)
	if p.bar > 0 {
		text += " " + p.barOf(r)
	}

	duration, tokens, cost := "", "", ""
	if r.from != nil {
		to := p.end
		if r.to != nil {
			to = *r.to
		}
		duration = took(to.Sub(*r.from))
	}
	if r.spent != nil {
		tokens = grouped(r.spent.Tokens())
		if r.spent.Price != nil {
			cost = price(*r.spent.Price)
		}
	}

	text += fmt.Sprintf(" %*s %*s", numbers, duration, numbers, tokens)
	if p.currency != "" {
		text += fmt.Sprintf(" %*s", numbers, cost)
	}
	return strings.TrimRight(text, " ")
}

// barOf is the bar of a row: a cell at least, and an arrow at the end if it is not over.
func (p *picture) barOf(r row) string {
	if r.from == nil {
		return strings.Repeat(" ", p.bar)
	}
	to := p.end
	if r.to != nil {
		to = *r.to
	}

	cell := func(t time.Time) int {
		total := p.end.Sub(p.begin)
		if total <= 0 {
			return 0
		}
		return int(float64(p.bar) * float64(t.Sub(p.begin)) / float64(total))
	}
	first := min(max(cell(*r.from), 0), p.bar-1)
	length := min(max(cell(to)-first, 1), p.bar-first)

	set := ascii
	if p.screen.Blocks {
		set = blocks
	}
	bar := strings.Repeat(set[r.kind], length)
	if r.to == nil {
		bar = strings.Repeat(set[r.kind], length-1) + ">"
	}
	return strings.Repeat(" ", first) + bar + strings.Repeat(" ", p.bar-first-length)
}

// contentOf is what is known of a content.
func contentOf(c *trace.Content) string {
	switch {
	case c == nil:
		return "not known"
	case c.Cut:
		return fmt.Sprintf("(%s bytes) %s", grouped(int64(c.Bytes)), c.Begin)
	}
	return string(c.Value)
}

func quoted(why string) string { return strings.Join(strings.Fields(why), " ") }

// took is a duration with three digits or so.
func took(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// grouped is a number with commas.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// price is a price with as many digits as it takes to see it.
func price(p float64) string {
	if p >= 1 || p == 0 {
		return fmt.Sprintf("%.2f", p)
	}
	return fmt.Sprintf("%.5f", p)
}

func count(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	if one, ok := strings.CutSuffix(of, "y"); ok {
		of = one + "ie"
	}
	return grouped(int64(n)) + " " + of + "s"
}

// plain is printable text on one line: what comes from a model or a tool reaches a terminal.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
}

// cut is the beginning of a text.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	if most < 4 {
		return string([]rune(s)[:max(most, 0)])
	}
	return string([]rune(s)[:most-2]) + ".."
}

func pad(s string, to int) string {
	return s + strings.Repeat(" ", max(0, to-utf8.RuneCountInString(s)))
}
