package wire

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2asrv"
)

// Every operation of the SDK has a row, and no two rows have a name or a path in common.
func TestRowsAreCompleteAndApart(t *testing.T) {
	served := 0
	owner := map[string]string{}

	for _, o := range operations {
		if o.serve != nil {
			served++
		}

		names := []string{"method " + o.name, "method " + o.name03}
		for _, verb := range o.verbs {
			path03 := o.path03
			if path03 == "" {
				path03 = o.path
			}
			names = append(names, verb+" "+o.path, verb+" v1/"+path03)
		}

		for _, name := range slices.DeleteFunc(names, func(n string) bool { return n == "method " }) {
			if owner[name] != "" {
				t.Errorf("%s is the name of %s and of %s", name, owner[name], o.name)
			}
			owner[name] = o.name
		}
	}

	if all := reflect.TypeFor[a2asrv.RequestHandler]().NumMethod(); served != all {
		t.Errorf("%d rows are served, and the SDK has %d operations", served, all)
	}
}

// The verbs of one path stand in the order in which an Allow header names them.
func TestVerbsOfAPathAreInOrder(t *testing.T) {
	order := []string{"GET", "POST", "DELETE"}
	verbs := map[string][]string{}
	for _, o := range operations {
		verbs[o.path] = append(verbs[o.path], o.verbs...)
	}
	for path, all := range verbs {
		if !slices.IsSortedFunc(all, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) }) {
			t.Errorf("%s is served by %s", path, strings.Join(all, ", "))
		}
	}
}
