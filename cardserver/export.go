package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"errand/shared/card"
	"errand/shared/egress"
	"errand/shared/peer"
	"errand/shared/setup"
	"errand/worker/agent"
)

// cardCommand prints the agent card, for clients that are given it as a file, and looks for the
// faults of any card.
func cardCommand(ctx context.Context, i invocation) int {
	if len(i.args) > 0 && i.args[0] == "lint" {
		return lintCommand(ctx, invocation{i.args[1:], i.environ, i.in, i.out, i.errs})
	}
	flags := flag.NewFlagSet("card", flag.ContinueOnError)
	flags.SetOutput(i.errs)
	signed := flags.Bool("signed", false, "with signatures by the installation's keys (ERRAND_KEYS)")
	at := flags.String("url", "", "`URL` at which clients reach the agent, instead of ERRAND_URL")
	flags.Usage = func() {
		fmt.Fprintln(i.errs, "cardserver card [flags]: prints the public agent card. The environment says whose (docs/environment.md).")
		fmt.Fprintln(i.errs, "cardserver card lint [flags] FILE|URL: says what is wrong with a card (card lint -h lists the flags).")
		flags.PrintDefaults()
	}

	switch err := flags.Parse(i.args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	case flags.NArg() > 0:
		fmt.Fprintln(i.errs, "card takes no arguments behind its flags; cardserver card lint FILE looks at a card that is there")
		return misused
	}

	if err := exportCard(ctx, i, *at, *signed); err != nil {
		fmt.Fprintln(i.errs, err)
		return failed
	}
	return succeeded
}

func exportCard(ctx context.Context, i invocation, at string, signed bool) (err error) {
	env, err := setup.ReadEnv(i.environ)
	if err != nil {
		return err
	}
	if at != "" {
		env.URL = at
	}
	parts, err := setup.OpenCard(ctx, env, agent.Definition, setup.Log(i.errs, env))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.Close()) }()
	if parts.URL == "" {
		return errors.New("a card names the address of its agent: give it with -url https://agent.example.com, or set ERRAND_URL")
	}

	cfg := cardConfig(parts.Agent, securityOf(parts.Access), parts.URL)
	if signed {
		if cfg.Sign, _, err = signer(ctx, parts.Keys, time.Now()); err != nil {
			return err
		}
	}
	c, err := card.Signed(cfg)
	if err != nil {
		return fmt.Errorf("ERRAND_URL, or -url: %w", err)
	}

	doc, err := card.Encode(c)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, doc, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(i.out, out.String())
	return err
}

// lintCommand says what is wrong with a card in a file or at an address.
func lintCommand(ctx context.Context, i invocation) int {
	flags := flag.NewFlagSet("card lint", flag.ContinueOnError)
	flags.SetOutput(i.errs)
	private := flags.Bool("private", false, "the card is not for everybody, so it may name hosts that only some reach")
	links := flags.Bool("links", true, "ask whether the links of the card lead anywhere")
	flags.Usage = func() {
		fmt.Fprintln(i.errs, "cardserver card lint [flags] FILE|URL: says what is wrong with a card, in a file, at an agent's address or at the card's own.")
		flags.PrintDefaults()
	}

	switch err := flags.Parse(i.args); {
	case errors.Is(err, flag.ErrHelp):
		return succeeded
	case err != nil:
		return misused
	case flags.NArg() != 1:
		fmt.Fprintln(i.errs, "card lint needs one file or URL, after the flags: cardserver card lint https://agent.example.com")
		return misused
	}

	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	doc, err := readCard(ctx, flags.Arg(0))
	if err != nil {
		fmt.Fprintln(i.errs, err)
		return failed
	}

	faults := card.Lint(doc, !*private)
	if *links {
		faults = append(faults, deadLinks(ctx, doc)...)
	}
	for _, f := range faults {
		fmt.Fprintln(i.out, f)
	}
	if len(faults) > 0 {
		return failed
	}
	fmt.Fprintln(i.out, "no faults")
	return succeeded
}

// readCard reads the card at a place: a file, the address of an agent, or that of the card.
func readCard(ctx context.Context, place string) ([]byte, error) {
	read := peer.InFile(place)
	if u, err := url.Parse(place); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		read = peer.AtURL(place, http.DefaultClient, nil)
	}
	c, err := read(ctx, peer.Copy{})
	return c.Doc, err
}

// linkFor is how long a link may take to answer.
const linkFor = 10 * time.Second

// deadLinks asks whether the pages and pictures that a card names are there.
func deadLinks(ctx context.Context, doc []byte) (faults []card.Fault) {
	var c struct {
		DocumentationURL string `json:"documentationUrl"`
		IconURL          string `json:"iconUrl"`
		Provider         struct {
			URL string `json:"url"`
		} `json:"provider"`
	}
	if json.Unmarshal(doc, &c) != nil {
		return nil
	}
	client, err := egress.New(egress.Config{})
	if err != nil {
		return []card.Fault{{Field: "the card", Remedy: "its links cannot be tried: " + err.Error()}}
	}

	for _, link := range []card.Fault{{Field: "documentationUrl", Remedy: c.DocumentationURL}, {Field: "iconUrl", Remedy: c.IconURL}, {Field: "provider.url", Remedy: c.Provider.URL}} {
		if link.Remedy == "" {
			continue
		}
		if why := deadLink(ctx, client, link.Remedy); why != "" {
			faults = append(faults, card.Fault{Field: link.Field, Remedy: why})
		}
	}
	return faults
}

// deadLink says why a link leads nowhere; empty if it does lead somewhere.
func deadLink(ctx context.Context, client *egress.Client, link string) string {
	ctx, cancel := context.WithTimeout(ctx, linkFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "is not an address"
	}
	res, err := client.Do(req)
	if err != nil {
		return "leads nowhere: " + err.Error()
	}
	_ = res.Body.Close()
	if res.StatusCode >= 400 {
		return "leads nowhere: it is answered " + res.Status
	}
	return ""
}
