// Package shared_test holds the rules of the code base that a compiler does not
// check: which package may import which, and a few habits. It tests nothing else.
package shared_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"errand/shared/agent"
	"errand/shared/setup"
)

const module = "errand/"

// ports are floor 0: data, pure functions, interfaces. They never import each
// other, so that each can be read and replaced alone.
var ports = []string{"shared/task", "shared/kv", "shared/queue", "shared/bus", "shared/model", "shared/objects", "shared/secret"}

// own is the folder that an installation makes its own. The rules say which packages its
// code may import, because more would make it a part of the frame. Everything else there is
// the installation's business: its dependencies, its subpackages, its habits.
const own = "worker/agent"

// isOwn reports whether a package lies in that folder.
func isOwn(pkg string) bool { return pkg == own || strings.HasPrefix(pkg, own+"/") }

// doors are folders whose packages share one list of imports. allowed says which packages
// may import them: setup alone imports adapters, because adapters are chosen in one place,
// and only tests import the lab. A package of a door that is in allowed has its own list.
var doors = map[string][]string{
	"shared/adapters/": append([]string{"shared/files", "shared/loopback", "shared/serve", "shared/share"}, ports...),
	"shared/lab/": append([]string{
		"shared/adapters/local", "shared/adapters/sqlstore", "shared/adapters/standin", "shared/audit", "shared/auth", "shared/batch", "shared/desk", "shared/egress",
		"shared/files", "shared/keys", "shared/lab/conformance", "shared/serve", "shared/steps",
	}, ports...),
}

// allowed says which packages of this module a package may import; a name that ends with
// / is everything in that folder. A package that is neither here nor behind a door fails:
// a new one is a decision. Tests are not held to it.
var allowed = map[string][]string{
	"shared/task":    {},
	"shared/kv":      {},
	"shared/queue":   {},
	"shared/bus":     {},
	"shared/model":   {},
	"shared/objects": {},
	"shared/secret":  {},

	// memory is taken by those who decode and those who write: it knows no task.
	"shared/memory":   {"shared/share"},
	"shared/loopback": {},
	"shared/share":    {},
	"shared/strict":   {},
	"shared/agent":    {"shared/strict"},
	"shared/dialect":  {},
	"shared/card":     {"shared/agent", "shared/dialect", "shared/loopback", "shared/serve"},
	// peer is a client's side: it knows cards, and nothing of the agent that uses it.
	"shared/peer": {"shared/card", "shared/keys", "shared/loopback", "shared/secret"},
	// catalogue decides who sees which agent, and asks peer for cards. Of egress it knows how much comes of a body.
	"shared/catalogue": {"shared/auth", "shared/card", "shared/egress", "shared/kv", "shared/peer", "shared/share"},
	// desk alone adds jobs about records, and alone knows where a lane's are delivered.
	"shared/desk": {"shared/batch", "shared/queue", "shared/task"},
	// batchdesk does what callers ask about batches, whichever door they come by.
	"shared/batchdesk": {"shared/batch", "shared/desk", "shared/files", "shared/kv", "shared/objects", "shared/task", "shared/uploads"},
	"shared/egress":    {"shared/loopback"},
	// auth turns a request into a name: it knows neither tasks nor operations.
	"shared/auth": {"shared/keys", "shared/loopback", "shared/objects", "shared/strict"},
	// keys takes its ring as a secret.Value, which no log or error prints.
	"shared/keys": {"shared/secret"},
	// files wraps a bucket that an adapter opens. It knows owners as words, no tasks.
	"shared/files": {},
	// uploads knows owners and tasks as words.
	"shared/uploads": {"shared/files", "shared/kv", "shared/memory"},
	// steps knows tasks as words: it says where their steps are.
	"shared/steps": {"shared/kv"},
	// credential decides by the record whether a task still asks, and changes none.
	"shared/credential": {"shared/keys", "shared/kv", "shared/loopback", "shared/secret", "shared/task"},
	// usage knows owners as words, and their limits as numbers.
	"shared/usage": {"shared/kv"},
	// batch and webhook decide, and act on nothing.
	"shared/batch":   {"shared/agent", "shared/dialect", "shared/strict", "shared/task"},
	"shared/webhook": {"shared/bus", "shared/dialect", "shared/keys", "shared/task"},

	// kit is for the installation's own code.
	"shared/kit": {"shared/agent", "shared/secret"},

	"shared/serve": {"shared/loopback"},
	"shared/setup": slices.Concat(ports, []string{"shared/adapters/", "shared/agent", "shared/auth", "shared/egress", "shared/files", "shared/keys", "shared/kit", "shared/loopback", "shared/serve", "shared/strict", "shared/usage"}),

	// front sees neither model nor bus: it accepts, and never runs a task.
	"cardserver/front":      {"shared/audit", "cardserver/front/wire", "shared/limits", "cardserver/page", "shared/agent", "shared/auth", "shared/batch", "shared/card", "shared/batchdesk", "shared/credential", "shared/desk", "shared/dialect", "shared/keys", "shared/kv", "shared/loopback", "shared/objects", "shared/serve", "shared/task", "shared/uploads", "shared/webhook"},
	"cardserver/front/wire": {"shared/audit", "shared/auth", "shared/card", "shared/dialect", "shared/memory", "shared/serve", "shared/share"},
	"cardserver/page":       {"shared/task"},
	// api is what the operations beside A2A have in common: it knows no task.
	"cardserver/api": {"shared/audit", "shared/auth", "shared/serve"},
	// fault says what the errors of the desk of batches and of uploads mean to callers, at every door.
	"cardserver/fault": {"cardserver/api", "shared/auth", "shared/batch", "shared/batchdesk", "shared/desk", "shared/files", "shared/share", "shared/task", "shared/uploads"},
	// batches, files and openai are doors: what they are asked for, batchdesk and uploads do.
	"cardserver/batches":   {"cardserver/api", "shared/audit", "cardserver/fault", "shared/auth", "shared/batch", "shared/batchdesk", "shared/task", "shared/uploads"},
	"cardserver/catalogue": {"cardserver/api", "shared/audit", "shared/auth", "shared/catalogue", "shared/serve"},
	"cardserver/files":     {"cardserver/api", "cardserver/fault", "shared/auth", "shared/batchdesk", "shared/files", "shared/serve", "shared/uploads"},
	// credentials takes what package credential keeps: its callers are nobody in particular.
	"cardserver/credentials": {"cardserver/api", "shared/audit", "shared/auth", "shared/credential", "shared/desk", "shared/serve", "shared/task"},
	"cardserver/openai":      {"cardserver/api", "shared/audit", "cardserver/fault", "shared/auth", "shared/batch", "shared/batchdesk", "shared/desk", "shared/task", "shared/uploads"},
	// audit knows callers and words, no tasks.
	"shared/audit":  {"shared/auth"},
	"shared/limits": {"shared/auth", "shared/share", "shared/task"},
	// push is of our own beside A2A: it asks for deliveries and makes none.
	"cardserver/push": {"cardserver/api", "shared/audit", "cardserver/page", "cardserver/trace", "shared/auth", "shared/desk", "shared/keys", "shared/kv", "shared/serve", "shared/steps", "shared/task", "shared/uploads", "shared/webhook"},
	// trace reads what turns and steps have stored, and knows no caller.
	"cardserver/trace": {"shared/kv", "shared/task", "worker/steps"},
	// waterfall is a client: it knows the form of a trace and nothing else of Errand.
	"cardserver/trace/waterfall": {"cardserver/trace"},
	// cli is a client: it knows the form of a budget and nothing else of Errand.
	"cardserver/batches/cli": {"shared/batch"},
	// turn runs any executor: it knows no agent definition and no model.
	"worker/turn":     {"shared/bus", "shared/credential", "shared/desk", "shared/keys", "shared/kv", "shared/memory", "shared/objects", "shared/queue", "shared/secret", "shared/steps", "shared/task", "shared/uploads", "worker/run", "worker/steps"},
	"worker/executor": {"shared/agent", "shared/kit", "shared/model", "shared/secret", "shared/task", "shared/usage", "worker/gate", "worker/run", "worker/steps", "worker/tools"},
	// batches runs no item and knows no model: turns do.
	"worker/batches": {"shared/batch", "shared/batchdesk", "shared/desk", "shared/files", "shared/kv", "shared/objects", "shared/queue", "shared/steps", "shared/task", "shared/uploads", "worker/run"},
	// gate is in front of the model: it knows no records, and makes pauses.
	"worker/gate": {"shared/model", "worker/run"},
	// run passes the steps of the record on.
	"worker/run":       {"shared/secret", "shared/task"},
	"worker/tools":     {},
	"worker/steps":     {"shared/kv"},
	"functions/notify": {"shared/bus", "shared/desk", "shared/egress", "shared/keys", "shared/memory", "shared/queue", "shared/serve", "shared/share", "shared/task", "shared/webhook"},
	"functions/sweep":  {"shared/batch", "shared/catalogue", "shared/desk", "shared/files", "shared/kv", "shared/queue", "shared/steps", "shared/task", "shared/uploads"},

	// submit is a door: what becomes of a message, desk and batchdesk decide.
	"functions/submit": {"shared/audit", "shared/auth", "shared/batch", "shared/bus", "shared/batchdesk", "shared/desk", "shared/strict", "shared/task"},

	// The mains alone import the installation's own folder. It may import the packages that
	// tools and executors need.
	own: {own + "/", "shared/kit", "shared/secret", "worker/run", "worker/steps", "worker/tools"},

	// adk is for that folder, and imports what it may. agent is an example of the folder.
	"docs/adk":       {"worker/run", "worker/steps"},
	"docs/adk/agent": {"docs/adk", "shared/kit", "worker/tools"},

	"worker": {own, "worker/batches", "worker/executor", "worker/turn", "shared/batch", "shared/credential", "shared/desk", "shared/keys", "shared/queue", "shared/serve", "shared/setup", "shared/task", "shared/uploads"},
	// smoke is a client like any other: it knows the protocol and nothing of Errand.
	"infra/smoke": {"shared/loopback", "shared/peer"},

	// functions takes messages of callers too, who have the same limits at every door.
	"functions": {own, "shared/catalogue", "shared/limits", "functions/notify", "functions/submit", "functions/sweep", "shared/batch", "shared/bus", "shared/batchdesk", "shared/desk", "shared/keys", "shared/queue",
		"shared/serve", "shared/setup", "shared/task", "shared/uploads"},

	// Mains may import anything below them; only cardserver, which is the whole
	// agent on one machine, takes in the other services.
	"cardserver": {"cardserver/batches", "cardserver/batches/cli", "cardserver/catalogue", "shared/catalogue", "cardserver/credentials", "cardserver/files", "cardserver/front", "shared/limits", "cardserver/openai", "cardserver/push", "cardserver/trace/waterfall", "infra/smoke", own, "worker/batches", "worker/turn", "worker/executor", "functions/notify", "functions/sweep",
		"shared/agent", "shared/auth", "shared/batch", "shared/bus", "shared/card", "shared/batchdesk", "shared/credential", "shared/desk", "shared/egress", "shared/keys", "shared/loopback", "shared/peer", "shared/queue", "shared/secret", "shared/serve", "shared/setup", "shared/task", "shared/uploads"},

	// The lab makes an Env as setup does for a program, and an agent in the place of the
	// installation's own.
	"shared/lab":       {"shared/agent", "shared/egress", "shared/kit", "shared/secret"},
	"shared/lab/agent": {"shared/kit", "worker/run", "worker/tools"},
}

// foreign says where a dependency with weight may be imported. The key is a prefix
// of an import path; the longest one counts.
var foreign = map[string]struct {
	where  []string
	reason string
}{
	"cloud.google.com/":         {[]string{"shared/adapters/gcp", "shared/lab/fake"}, "Google's services are behind ports"},
	"cloud.google.com/go/auth":  {[]string{"shared/adapters/gemini"}, "the model's requests carry a token of ours, so that one place renews it and keeps it out of errors; the other clients find their own"},
	"gocloud.dev/":              {[]string{"shared/files", "shared/adapters/local", "shared/adapters/gcp"}, "files are behind shared/files, and adapters open their buckets"},
	"gocloud.dev/blob/fileblob": {[]string{"shared/adapters/local"}, "one place opens folders"},
	"gocloud.dev/blob/gcsblob":  {[]string{"shared/adapters/gcp"}, "one place opens buckets"},
	"github.com/fsouza/":        {[]string{"shared/lab/fake"}, "it stands in for Cloud Storage in tests"},
	"modernc.org/":              {[]string{"shared/adapters/sqlstore"}, "database drivers are behind the store"},
	"database/sql":              {[]string{"shared/adapters/sqlstore"}, "database drivers are behind the store"},
	"github.com/jackc/":         {[]string{"shared/adapters/sqlstore", "shared/lab/postgres"}, "database drivers are behind the store, and the lab makes databases for its tests"},
	"google.golang.org/genai":   {[]string{"shared/adapters/gemini", "shared/adapters/standin", "shared/lab/scripts", "docs/adk", "docs/adk/agent"}, "the model is behind its port; ADK has types of genai"},
	"google.golang.org/adk":     {[]string{"docs/adk", "docs/adk/agent"}, "ADK is for those who choose it, in a module of its own"},
	"github.com/sony/gobreaker": {[]string{"functions/notify"}, "breakers are of those who deliver"},
	"code.dny.dev/ssrf":         {[]string{"shared/egress"}, "there is one guarded way out"},
	"github.com/coreos/":        {[]string{"shared/auth"}, "tokens are checked in one place"},
	"go.yaml.in/yaml":           {[]string{"shared/strict"}, "there is one strict reader of files that people write"},
	"github.com/go-jose/":       {[]string{"shared/auth", "shared/keys", "shared/card", "shared/peer"}, "auth checks tokens, card checks cards, peer holds the keys for that, and keys alone signs"},
	"github.com/schollz/":       {[]string{"cardserver/batches/cli"}, "one command shows progress"},
	"testing":                   {[]string{"shared/lab", "shared/lab/conformance", "shared/lab/fake", "shared/lab/emulator", "shared/lab/pki", "shared/lab/postgres", "shared/lab/world"}, "testing is in no binary"},
	"net/http/httptest":         {[]string{"shared/lab/fake", "shared/lab/world"}, "testing is in no binary"},
	"github.com/google/go-cmp":  {[]string{"shared/lab/conformance"}, "go-cmp is for tests"},

	"cloud.google.com/go/pubsub/v2": {[]string{"shared/adapters/gcp", "docs/consumer"}, "events are behind their port; the example of a pipeline stands outside and has no ports"},
}

// A file is a Go file of this module.
type file struct {
	path string // from the module's root
	pkg  string // its folder
	test bool
	ast  *ast.File
	set  *token.FileSet
}

// files lists the Go files of this module. Callers share them and change nothing.
func files(t *testing.T) []file {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d Go files; the rules are not looking at the code", len(all))
	}
	return all
}

// parsed reads all files once, for all rules.
var parsed = sync.OnceValues(func() ([]file, error) {
	var all []file
	root := os.DirFS("..")

	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(p) != ".go" {
			return nil
		}

		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join("..", filepath.FromSlash(p)), nil, parser.ParseComments)
		if err != nil {
			return err
		}

		all = append(all, file{p, path.Dir(p), strings.HasSuffix(p, "_test.go"), f, set})
		return nil
	})

	return all, err
})

func imports(f file) []string {
	var out []string
	for _, i := range f.ast.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err == nil {
			out = append(out, p)
		}
	}
	return out
}

// mayImport lists the packages that a package may import, and reports whether the map knows
// it.
func mayImport(pkg string) ([]string, bool) {
	if isOwn(pkg) {
		pkg = own
	}
	if may, known := allowed[pkg]; known {
		return may, true
	}
	for door, may := range doors {
		if strings.HasPrefix(pkg, door) {
			return may, true
		}
	}
	return nil, false
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range files(t) {
		if f.test {
			continue
		}

		may, known := mayImport(f.pkg)
		if !known && !strings.HasPrefix(f.pkg, "docs/") {
			t.Errorf("%s: package %s is not in the map of rules_test.go; say there what it may import", f.path, f.pkg)
			continue
		}

		seen[f.pkg] = true

		for _, i := range imports(f) {
			of, ok := strings.CutPrefix(i, module)
			if ok && !slices.ContainsFunc(may, func(name string) bool {
				return name == of || strings.HasSuffix(name, "/") && strings.HasPrefix(of, name)
			}) {
				t.Errorf("%s: %s may not import %s", f.path, f.pkg, of)
			}

			if isOwn(f.pkg) {
				continue
			}

			longest := ""
			for prefix := range foreign {
				if (i == prefix || strings.HasPrefix(i, strings.TrimSuffix(prefix, "/")+"/")) && len(prefix) > len(longest) {
					longest = prefix
				}
			}

			if rule, ok := foreign[longest]; ok && !slices.Contains(rule.where, f.pkg) {
				t.Errorf("%s: may not import %s: %s", f.path, i, rule.reason)
			}
		}
	}

	for pkg := range allowed {
		if !seen[pkg] {
			t.Errorf("package %s is in the map of rules_test.go and not in the code", pkg)
		}
	}
}

func TestAdaptersAreChosenInOnePlace(t *testing.T) {
	for pkg, may := range allowed {
		for _, name := range may {
			if strings.HasPrefix(name, "shared/adapters/") && pkg != "shared/setup" {
				t.Errorf("%s may import %s; only setup chooses adapters", pkg, name)
			}
			if name == "shared/lab" || strings.HasPrefix(name, "shared/lab/") {
				t.Errorf("%s may import %s; the lab is for tests", pkg, name)
			}
		}
	}
}

// An installation's own folder is imported by the mains, and by nothing else:
// not by a test either, or another agent in it would break that test.
func TestOnlyMainsImportTheOwnFolder(t *testing.T) {
	for _, f := range files(t) {
		main := !f.test && (f.pkg == "cardserver" || f.pkg == "worker" || f.pkg == "functions")
		for _, i := range imports(f) {
			if of := strings.TrimPrefix(i, module); isOwn(of) && !isOwn(f.pkg) && !main {
				t.Errorf("%s: imports %s, which belongs to the installation", f.path, of)
			}
		}
	}
}

// setup makes the Env of an installation's own code for programs, and lab for tests.
func TestTheKitIsMadeByTheFrame(t *testing.T) {
	for _, f := range files(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := s.X.(*ast.Ident)
			if ok && x.Name == "kit" && (s.Sel.Name == "New" || s.Sel.Name == "Config") && !slices.Contains([]string{"shared/kit", "shared/setup", "shared/lab"}, f.pkg) {
				t.Errorf("%s: makes a kit.Env; setup makes it for programs, and lab for tests", f.set.Position(n.Pos()))
			}
			return true
		})
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	doc := map[string]bool{}
	for _, f := range files(t) {
		if !f.test && !isOwn(f.pkg) {
			doc[f.pkg] = doc[f.pkg] || f.ast.Doc != nil
		}
	}
	for pkg, ok := range doc {
		if !ok {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range files(t) {
		if f.test || f.ast.Name.Name == "main" || isOwn(f.pkg) {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					t.Errorf("%s: %s has no comment", f.path, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						t.Errorf("%s: %s has no comment", f.path, ts.Name.Name)
					}
				}
			}
		}
	}
}

// exportedReceiver is false for methods of types that other packages cannot name.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

// A function of more than 25 lines has a blank line between its steps: none of its
// paragraphs has more than 20 lines. Literals, which are tables and texts, may be longer.
func TestLongFunctionsHaveParagraphs(t *testing.T) {
	const long, most = 25, 20
	for _, f := range files(t) {
		if isOwn(f.pkg) {
			continue
		}

		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(f.path)))
		if err != nil {
			t.Fatal(err)
		}

		lines := strings.Split(string(text), "\n")
		at := func(p token.Pos) int { return f.set.Position(p).Line }

		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || at(fn.End())-at(fn.Pos()) < long {
				continue
			}

			literal := map[int]bool{}

			ast.Inspect(fn, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.CompositeLit, *ast.BasicLit:
					for l := at(n.Pos()) + 1; l < at(n.End()); l++ {
						literal[l] = true
					}
				}

				return true
			})

			run := 0
			for l := at(fn.Pos()); l <= at(fn.End()); l++ {
				switch {
				case strings.TrimSpace(lines[l-1]) == "":
					run = 0
				case !literal[l]:
					run++
				}

				if run == most+1 {
					t.Errorf("%s:%d: %s has a paragraph of more than %d lines; put a blank line between its steps", f.path, l, fn.Name.Name, most)
				}
			}
		}
	}
}

// A handler logs with its context, from which slog takes the id of the request and its
// trace.
func TestHandlersLogWithTheirContext(t *testing.T) {
	handlers := regexp.MustCompile(`^(cardserver|functions|worker/turn)(/|$)`)
	levels := []string{"Debug", "Info", "Warn", "Error"}

	for _, f := range files(t) {
		if f.test || !handlers.MatchString(f.pkg) {
			continue
		}

		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}

			s, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(levels, s.Sel.Name) {
				return true
			}

			x, ok := s.X.(*ast.Ident)
			other := ok && x.Name != "slog" && slices.ContainsFunc(imports(f), func(i string) bool { return path.Base(i) == x.Name })
			if !other { // http.Error
				t.Errorf("%s: logs without a context; use %sContext", f.set.Position(n.Pos()), s.Sel.Name)
			}

			return true
		})
	}
}

func TestNothingRunsBeforeMain(t *testing.T) {
	for _, f := range files(t) {
		if isOwn(f.pkg) {
			continue
		}

		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init", f.path)
			}
		}
	}
}

func TestEnvironmentIsReadInOneFileAndListedInItsDocument(t *testing.T) {
	// It reads variables that ask for tests, which concern no program.
	const ofTests = "shared/lab/conformance/require.go"

	for _, f := range files(t) {
		if f.test || f.path == ofTests || isOwn(f.pkg) {
			continue
		}

		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" && (s.Sel.Name == "Getenv" || s.Sel.Name == "LookupEnv") {
				t.Errorf("%s: reads the environment; that is done in shared/setup/env.go", f.set.Position(n.Pos()))
			}

			return true
		})
	}

	document, err := os.ReadFile("../docs/environment.md")
	if err != nil {
		t.Fatal(err)
	}

	for _, prefix := range []string{agent.SettingPrefix, agent.SecretPrefix} {
		if !strings.Contains(string(document), "\n| `"+prefix+"…` |") {
			t.Errorf("variables that begin with %s are read and not in the table of docs/environment.md", prefix)
		}
	}

	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|").FindAllSubmatch(document, -1) {
		listed[string(m[1])] = true
	}

	for _, name := range setup.Variables() {
		if !listed[name] {
			t.Errorf("%s is read and not in the table of docs/environment.md", name)
		}
		delete(listed, name)
	}

	for name := range listed {
		t.Errorf("%s is in the table of docs/environment.md and not read", name)
	}
}

// testsOf names the functions of a test file.
func testsOf(f file) []string {
	var names []string
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
			names = append(names, fn.Name.Name)
		}
	}
	return names
}

func TestPromisesNameTestsThatExist(t *testing.T) {
	exists := map[string]bool{}
	for _, f := range files(t) {
		for _, name := range testsOf(f) {
			exists[f.pkg+"."+name] = true
		}
	}

	document, err := os.ReadFile("../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}

	_, promises, _ := strings.Cut(string(document), "\n\n| promise |")
	promises, _, _ = strings.Cut(promises, "\n\n")
	rows := strings.Split(strings.TrimSpace(promises), "\n")
	if len(rows) < 10 {
		t.Fatalf("docs/promises.md has %d rows of promises", len(rows))
	}

	for _, row := range rows[2:] {
		proof := strings.Split(row, "|")[2]
		named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(proof, -1)
		if len(named) == 0 {
			t.Errorf("no test is named for: %s", row)
		}

		for _, m := range named {
			if !slices.ContainsFunc(regexp.MustCompile("`([a-z/]+)`").FindAllStringSubmatch(proof, -1), func(pkg []string) bool { return exists[pkg[1]+"."+m[1]] }) {
				t.Errorf("%s is in none of the packages named beside it: %s", m[1], row)
			}
		}
	}
}
