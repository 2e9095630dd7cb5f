package shared_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"errand/shared/agent"
	"errand/shared/card"
	"errand/shared/task"
)

// documents returns the texts of all Markdown files by their paths from the module's root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}

	err := fs.WalkDir(os.DirFS(".."), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(p) != ".md":
			return nil
		}

		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(p)))
		all[p] = string(text)
		return err
	})

	if err != nil || len(all) < 5 {
		t.Fatalf("found %d documents: %v", len(all), err)
	}

	return all
}

var (
	fenced = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	linked = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)
	inCode = regexp.MustCompile("`([^`]+)`")
	titled = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// anchors returns the fragments that lead to the headings of a document, as GitHub makes
// them.
func anchors(document string) map[string]bool {
	all := map[string]bool{}
	for _, m := range titled.FindAllStringSubmatch(fenced.ReplaceAllString(document, ""), -1) {
		slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return all
}

// A link leads to a file or a folder, there exists what its text names as code, and its
// fragment is a heading.
func TestDocumentsLinkToWhatExists(t *testing.T) {
	all := documents(t)
	links := 0

	for from, text := range all {
		for _, m := range linked.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target, fragment, _ := strings.Cut(m[2], "#")
			if strings.Contains(m[2], "://") {
				continue
			}

			links++
			to := path.Join(path.Dir(from), target)
			if target == "" {
				to = from
			}

			if isOwn(path.Dir(to)) { // an installation may have other files there
				continue
			}

			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(to))); err != nil {
				t.Errorf("%s: %s leads nowhere", from, m[0])
				continue
			}

			if fragment != "" && !anchors(all[to])[fragment] {
				t.Errorf("%s: %s has no heading #%s", from, to, fragment)
			}

			for _, name := range inCode.FindAllStringSubmatch(m[1], -1) {
				if path.Ext(to) == ".go" && name[1] != path.Base(to) && !declares(t, to, name[1]) {
					t.Errorf("%s: %s does not declare %s", from, to, name[1])
				}
			}
		}
	}

	if links < 100 {
		t.Errorf("found %d links; the rule is not looking at the documents", links)
	}
}

// TestClientsRow16Readme: the README tells how large a message may be, as the card does.
func TestClientsRow16Readme(t *testing.T) {
	c, err := card.Derive(card.Config{Agent: &agent.Agent{}, URL: "https://agent.example.com", MaxMessage: task.LimitAccept})
	if err != nil {
		t.Fatal(err)
	}
	sizes := regexp.MustCompile(`\d+ KiB`).FindAllString(c.Description, -1)
	if len(sizes) != 2 {
		t.Fatalf("the card says %q", c.Description)
	}
	for _, size := range sizes {
		if !strings.Contains(documents(t)["README.md"], " above "+size) {
			t.Errorf("the README does not say %s", size)
		}
	}
}

// The README is short, leads to every document, and its map has each folder that holds code
// once, with a word about it.
func TestReadmeIsShortAndLeadsEverywhere(t *testing.T) {
	all := documents(t)
	readme := all["README.md"]
	if len(readme) > 10_000 {
		t.Errorf("the README has %d bytes; move reference to docs/", len(readme))
	}

	for name := range all {
		if name != "README.md" && !strings.Contains(readme, "]("+name+")") {
			t.Errorf("the README does not lead to %s", name)
		}
	}

	_, text, _ := strings.Cut(readme, "```text map\n")
	text, _, _ = strings.Cut(text, "```")
	drawn := map[string]bool{}
	parents := []string{""}

	for line := range strings.Lines(text) {
		name, says, _ := strings.Cut(strings.TrimSpace(line), "/")
		depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		folder := path.Join(parents[min(depth, len(parents)-1)], name)
		parents = append(parents[:min(depth+1, len(parents))], folder)

		if drawn[folder] {
			t.Errorf("%s is in the README's map twice", folder)
		}
		if d, err := os.Stat(filepath.Join("..", filepath.FromSlash(folder))); err != nil || !d.IsDir() {
			t.Errorf("%s is in the README's map, and is no folder", folder)
		}

		drawn[folder] = strings.TrimSpace(says) != ""
	}

	for _, f := range files(t) {
		if !drawn[f.pkg] && (f.pkg == own || !isOwn(f.pkg)) {
			t.Errorf("%s is missing in the README's map, or it says nothing about it", f.pkg)
			drawn[f.pkg] = true
		}
	}
}

// The entries of docs/decisions.md are numbered without gaps, from the number after those of
// docs/conformance.md on.
func TestDecisionsAreNumbered(t *testing.T) {
	next := requirements[len(requirements)-1].last + 1
	for _, m := range titled.FindAllStringSubmatch(documents(t)["docs/decisions.md"], -1) {
		switch number, _, _ := strings.Cut(m[1], ". "); number {
		case strconv.Itoa(next):
			next++
		case "Decisions", "Dependencies":
		default:
			t.Errorf("the decision %q should have the number %d", m[1], next)
		}
	}
	if next < 80 {
		t.Errorf("found decisions up to %d; the rule is not looking at the document", next-1)
	}
}

// source finds a Go file, given from the module's root.
func source(t *testing.T, name string) *ast.File {
	t.Helper()
	all := files(t)
	i := slices.IndexFunc(all, func(f file) bool { return f.path == name })
	if i < 0 {
		t.Fatalf("there is no Go file %s", name)
	}
	return all[i].ast
}

// declares says whether a file has the name: of a function, type, constant, variable or key,
// or Type.Method.
func declares(t *testing.T, file, name string) bool {
	t.Helper()
	kind, method, isMethod := strings.Cut(name, ".")
	found := false

	ast.Inspect(source(t, file), func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			switch {
			case n.Recv == nil || !isMethod:
				found = found || n.Name.Name == name
			default:
				found = found || n.Name.Name == method && receiver(n) == kind
			}
		case *ast.TypeSpec:
			found = found || n.Name.Name == name
		case *ast.ValueSpec:
			found = found || slices.ContainsFunc(n.Names, func(i *ast.Ident) bool { return i.Name == name })
		case *ast.Field:
			found = found || slices.ContainsFunc(n.Names, func(i *ast.Ident) bool { return i.Name == name })
		case *ast.KeyValueExpr:
			key, ok := n.Key.(*ast.Ident)
			found = found || ok && key.Name == name
		}

		return !found
	})

	return found
}

// receiver names the type of a method.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	id, _ := t.(*ast.Ident)
	return id.Name
}

// units of the values in documents, as factors of bytes and nanoseconds.
var units = map[string]int64{
	"": 1, "KiB": 1 << 10, "MiB": 1 << 20,
	"ms": int64(time.Millisecond), "s": int64(time.Second), "min": int64(time.Minute), "h": int64(time.Hour),
	"day": 24 * int64(time.Hour), "days": 24 * int64(time.Hour),
}

// parseValue reads a value such as 4,096, 1 MiB or 9 min 30 s.
func parseValue(text string) (value int64, ok bool) {
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		n, err := strconv.ParseInt(strings.ReplaceAll(words[i], ",", ""), 10, 64)
		if err != nil {
			return 0, false
		}

		factor := int64(1)
		if i+1 < len(words) {
			i++
			if factor, ok = units[words[i]]; !ok {
				return 0, false
			}
		}
		value += n * factor
	}
	return value, len(words) > 0
}

// The documented values of limits and schedules are those of the code. A row has them in
// its second cell, with commas between them, and in its third cell links to the constants,
// fields or functions that have these values.
func TestDocumentedValues(t *testing.T) {
	rows := 0
	for _, name := range []string{"docs/limits.md", "docs/changing.md"} {
		for line := range strings.Lines(documents(t)[name]) {
			cells := strings.Split(line, " | ")
			if !strings.HasPrefix(line, "| ") || len(cells) != 4 || !linked.MatchString(cells[2]) {
				continue
			}

			rows++
			have := map[int64]bool{}

			for _, m := range linked.FindAllStringSubmatch(cells[2], -1) {
				values := valuesOf(t, path.Join(path.Dir(name), m[2]), strings.Trim(m[1], "`"))
				if len(values) == 0 {
					t.Errorf("%s: %s has no value", name, m[0])
				}
				maps.Copy(have, values)
			}

			for text := range strings.SplitSeq(cells[1], ", ") {
				want, ok := parseValue(text)
				if !ok {
					t.Errorf("%s: %q is no value: %s", name, text, line)
				} else if !have[want] {
					t.Errorf("%s says %s (%d), the code %v: %s", name, text, want, slices.Sorted(maps.Keys(have)), line)
				}
			}
		}
	}

	if rows < 80 {
		t.Errorf("found %d rows; the rule is not looking at the documents", rows)
	}
}

// valuesOf collects the values that a Go or Terraform file gives to a name.
func valuesOf(t *testing.T, file, name string) map[int64]bool {
	t.Helper()
	if path.Ext(file) == ".tf" {
		return terraformValues(t, file, name)
	}

	found, f := map[int64]bool{}, source(t, file)
	known := constants(f)

	add := func(e ast.Expr) {
		ast.Inspect(e, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if v := evaluate(e, known); ok && v != nil {
				i, exact := constant.Int64Val(v)
				found[i] = exact
				return false
			}

			return true
		})
	}

	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if id.Name == name && i < len(n.Values) {
					add(n.Values[i])
				}
			}

		case *ast.KeyValueExpr:
			if id, ok := n.Key.(*ast.Ident); ok && id.Name == name {
				add(n.Value)
			}

		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if s, ok := left.(*ast.SelectorExpr); ok && s.Sel.Name == name && i < len(n.Rhs) {
					add(n.Rhs[i])
				}
			}

		case *ast.FuncDecl:
			if n.Name.Name == name {
				ast.Inspect(n, func(n ast.Node) bool {
					if l, ok := n.(*ast.CompositeLit); ok {
						add(l)
					}
					return true
				})
			}
		}

		return true
	})

	return found
}

// constants are the expressions of a file's constants by their names.
func constants(f *ast.File) map[string]ast.Expr {
	all := map[string]ast.Expr{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok {
			for i, id := range s.Names {
				if i < len(s.Values) {
					all[id.Name] = s.Values[i]
				}
			}
		}
		return true
	})
	return all
}

var durations = map[string]time.Duration{
	"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
}

// evaluate returns the value of a constant whole number, or nil.
func evaluate(e ast.Expr, known map[string]ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.INT {
			return constant.MakeFromLiteral(e.Value, e.Kind, 0)
		}

	case *ast.ParenExpr:
		return evaluate(e.X, known)

	case *ast.Ident:
		if is := known[e.Name]; is != nil {
			return evaluate(is, known)
		}

	case *ast.SelectorExpr:
		if p, ok := e.X.(*ast.Ident); ok && p.Name == "time" && durations[e.Sel.Name] > 0 {
			return constant.MakeInt64(int64(durations[e.Sel.Name]))
		}

	case *ast.BinaryExpr:
		x, y := evaluate(e.X, known), evaluate(e.Y, known)
		switch {
		case x == nil || y == nil:
		case e.Op == token.SHL:
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n))
		case slices.Contains([]token.Token{token.ADD, token.SUB, token.MUL}, e.Op):
			return constant.BinaryOp(x, e.Op, y)
		}
	}

	return nil
}

// terraformValues collects the numbers and times that a Terraform file gives to a name.
func terraformValues(t *testing.T, file, name string) map[int64]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}

	found := map[int64]bool{}
	set := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(name) + ` += (?:optional\(number, )?"?([0-9]+)(s?)`)
	for _, m := range set.FindAllStringSubmatch(string(text), -1) {
		if v, ok := parseValue(fmt.Sprintf("%s %s", m[1], m[2])); ok {
			found[v] = true
		}
	}
	return found
}
