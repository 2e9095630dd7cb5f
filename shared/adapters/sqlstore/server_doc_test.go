package sqlstore_test

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"errand/shared/adapters/sqlstore"
	"errand/shared/lab/postgres"
)

// The statements of docs/postgres.md make a database that the programs can use: as its owner,
// and as three users who act as the role that owns it.
func TestStatementsOfThePostgresDocument(t *testing.T) {
	text, err := os.ReadFile("../../../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("there are %d blocks of SQL, want 2", len(blocks))
	}

	at := postgres.Database(t)
	c := connected(t, superuser(at))

	// The server of the tests has a role and databases of the document's names, and no role
	// of a service account.
	as := func(block, name string) {
		t.Helper()
		for statement := range strings.SplitSeq(strings.ReplaceAll(block, "errand", name), ";\n") {
			run(t, c, statement)
		}
	}

	spec := func(user, database, role string) string {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if role != "" {
			q.Set("role", role)
		}
		u.User, u.Path, u.RawQuery = url.User(user), "/"+database, q.Encode()
		return u.String()
	}

	as(blocks[0][1], "heron")
	create(t, openServer(t, sqlstore.Server{Spec: spec("heron", "heron", "")}, sqlstore.Options{}), "a")

	users := []string{"egret-cardserver@P.iam", "egret-worker@P.iam", "egret-functions@P.iam"}
	for _, user := range users {
		run(t, c, `CREATE ROLE "`+user+`" LOGIN`)
	}
	as(blocks[1][1], "egret")
	for i, user := range users { // each one migrates the tables that another one has made
		more := slices.Repeat([]string{"ALTER TABLE task ADD COLUMN IF NOT EXISTS later BIGINT"}, i)
		opts := sqlstore.WithMigrations(sqlstore.Options{}, more...)
		create(t, openServer(t, sqlstore.Server{Spec: spec(user, "egret", "egret")}, opts), user)
	}
}
