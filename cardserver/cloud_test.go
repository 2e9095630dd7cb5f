package main_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/a2aproject/a2a-go/v2/a2aclient"

	"errand/functions/sweep"
	"errand/shared/bus"
	"errand/shared/keys"
	"errand/shared/lab/emulator"
	"errand/shared/lab/fake"
	"errand/shared/lab/postgres"
	"errand/shared/queue"
)

// A deployment is the part of a deployment that the tests of the whole use: a single
// process, or three on Google Cloud's parts, with the tasks in Firestore or Postgres.
type deployment interface {
	url() string
	client() *a2aclient.Client
	kill()  // as a crash does
	stop()  // as a deployment does
	start() // again, after kill or stop
	logged() string
}

// A starter starts a deployment with more environment.
type starter func(t *testing.T, env ...string) deployment

// on runs a test against each deployment, because all keep the same promises. The test runs
// beside others, for most of its time is waiting.
func on(t *testing.T, test func(t *testing.T, start starter)) {
	t.Parallel()
	t.Run("one process", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T, env ...string) deployment { return start(t, env...) })
	})
	onEachCloud(t, test)
}

// onEachCloud runs a test against the deployments of three programs.
func onEachCloud(t *testing.T, test func(t *testing.T, start starter)) {
	t.Run("Google Cloud", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T, env ...string) deployment { return startCloud(t, env...) })
	})
	t.Run("Postgres", func(t *testing.T) {
		t.Parallel()
		store := postgres.Database(t)
		test(t, func(t *testing.T, env ...string) deployment { return newCloud(t, cloudConfig{store: store, env: env}) })
	})
}

// A cloud is the three programs with stand-ins for the parts of Google Cloud between them:
// the emulators of Firestore and Pub/Sub, the fake of Cloud Tasks, an issuer of tokens, and
// a clock that ticks faster than Cloud Scheduler.
//
// It shares the emulators with other tests, and has its own project.
type cloud struct {
	t      *testing.T
	config cloudConfig
	topic  string
	issuer *fake.Issuer
	tasks  *fake.TasksProcess
	push   *httptest.Server // the target of the subscription's pushes

	cardserver, worker, functions *process
	others                        []*process // the second replicas
	clients                       string     // the URL for clients
}

// cloudConfig is what differs between tests. The zero value suits most of them.
type cloudConfig struct {
	env []string // more of it

	project   string // default: one of its own
	firestore string // HOST:PORT, instead of the emulator
	store     string // the URL of a Postgres database, instead of Firestore
	shards    int    // queues of each lane; 0: one
	replicas  bool   // two of each program, behind a balancer
	before    bool   // the second replicas are of the version before
	pubsub    string
	tasks     func(host string) string // another way to Cloud Tasks

	// worker and functions stand before the programs; nil: the programs alone.
	worker, functions func(target string) http.Handler
}

const (
	invoker   = "invoker@test.iam.gserviceaccount.com"
	tickEvery = time.Second
)

func startCloud(t *testing.T, env ...string) *cloud {
	t.Helper()
	return newCloud(t, cloudConfig{env: env})
}

func newCloud(t *testing.T, config cloudConfig) *cloud {
	t.Helper()
	if config.firestore == "" && config.store == "" {
		config.firestore = emulator.Firestore(t)
	}
	if config.pubsub == "" {
		config.pubsub = emulator.PubSub(t)
	}

	c := &cloud{t: t, config: config, issuer: fake.NewIssuer(t)}
	project := config.project
	if project == "" {
		project = emulator.Project(t)
	}
	queues := "projects/" + project + "/locations/europe-west1/queues/errand"
	ports, urls := make([][]int, 3), make([]string, 3)
	for i := range ports {
		ports[i] = []int{freePort(t)}
		if urls[i] = local(ports[i][0]); config.replicas {
			ports[i] = append(ports[i], freePort(t))
			urls[i] = served(t, balancer(ports[i]))
		}
	}

	c.clients = urls[0]
	workerURL, functionsURL := urls[1], urls[2]
	if config.worker != nil {
		workerURL = served(t, config.worker(workerURL))
	}
	if config.functions != nil {
		functionsURL = served(t, config.functions(functionsURL))
	}

	deployed := []*cloudtaskspb.Queue{deployedQueue(queues+"-"+queue.Sweeps, functionsURL+queue.PathSweep)}
	for _, l := range queue.Lanes() {
		target := map[queue.Service]string{queue.Worker: workerURL, queue.Functions: functionsURL}[l.Service]
		for _, name := range l.Queues(max(config.shards, 1)) {
			deployed = append(deployed, deployedQueue(queues+"-"+name, target+l.Path))
		}
	}

	c.tasks = fake.StartTasksProcess(t, c.issuer.URL, deployed...)
	c.push = httptest.NewServer(fake.Signed(t, functionsURL, invoker, functionsURL+bus.PathEvents, c.issuer.IDToken))
	t.Cleanup(c.push.Close)
	c.topic = "projects/" + project + "/topics/errand-events"
	c.subscribe()

	tasks := c.tasks.Addr
	if config.tasks != nil {
		tasks = config.tasks(tasks)
	}

	store := []string{"FIRESTORE_EMULATOR_HOST=" + config.firestore, "ERRAND_STORE=firestore:" + project + "/(default)"}
	if config.store != "" {
		store = []string{"ERRAND_STORE=" + config.store}
	}
	env := append(store,
		"ERRAND_FILES=gs:errand-files@127.0.0.1:9",
		"ERRAND_QUEUE=cloudtasks:"+queues+"@"+tasks,
		"ERRAND_BUS=pubsub:"+c.topic+"@"+config.pubsub,
		"ERRAND_URL="+c.clients, "ERRAND_WORKER_URL="+workerURL, "ERRAND_FUNCTIONS_URL="+functionsURL,
		"ERRAND_KEYS="+newKeys(t),
		"ERRAND_INVOKER="+invoker, "ERRAND_ISSUER="+c.issuer.URL,
		"ERRAND_MODEL=standin:",
	)

	if config.shards > 0 {
		env = append(env, fmt.Sprintf("ERRAND_SHARDS=%d", config.shards))
	}
	env = append(env, config.env...)

	for i, p := range []struct {
		name string
		at   **process
	}{{"cardserver", &c.cardserver}, {"worker", &c.worker}, {"functions", &c.functions}} {
		*p.at = launch(t, p.name, ports[i][0], env...)
		for _, port := range ports[i][1:] {
			name := p.name
			if config.before {
				name += " before"
			}
			c.others = append(c.others, launch(t, name, port, env...))
		}
	}

	c.tick(functionsURL)
	return c
}

// newKeys makes a ring of keys.
func newKeys(t *testing.T) string {
	t.Helper()
	text, err := keys.Generate("", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func local(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// balancer passes each request on to the next replica that listens, as Cloud Run does.
func balancer(ports []int) http.Handler {
	var turn atomic.Uint64
	dial := func(ctx context.Context, network, _ string) (c net.Conn, err error) {
		first := turn.Add(1)
		for i := range uint64(len(ports)) {
			port := ports[(first+i)%uint64(len(ports))]
			if c, err = new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				break
			}
		}
		return c, err
	}

	return &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host}) },
		Transport:    &http.Transport{DialContext: dial, DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

func served(t *testing.T, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// deployedQueue is a queue as infra makes it, which calls one address alone.
func deployedQueue(name, target string) *cloudtaskspb.Queue {
	to, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	host, port := to.Hostname(), int64(0)
	if _, err := fmt.Sscan(to.Port(), &port); err != nil {
		panic(err)
	}
	plain := cloudtaskspb.UriOverride_HTTP
	return &cloudtaskspb.Queue{
		Name: name,
		RetryConfig: &cloudtaskspb.RetryConfig{
			MaxAttempts: 100, MinBackoff: durationpb.New(time.Second), MaxBackoff: durationpb.New(5 * time.Minute), MaxDoublings: 8,
		},
		HttpTarget: &cloudtaskspb.HttpTarget{
			UriOverride: &cloudtaskspb.UriOverride{
				Scheme: &plain, Host: &host, Port: &port, PathOverride: &cloudtaskspb.PathOverride{Path: to.Path},
				UriOverrideEnforceMode: cloudtaskspb.UriOverride_ALWAYS,
			},
			AuthorizationHeader: &cloudtaskspb.HttpTarget_OidcToken{OidcToken: &cloudtaskspb.OidcToken{ServiceAccountEmail: invoker, Audience: target}},
		},
	}
}

// subscribe makes the topic and the push subscription of the functions. The subscription
// ends with the test, because the emulator would go on pushing. It has no retry policy:
// with one, the emulator does not deliver a message again that was refused twice.
func (c *cloud) subscribe() {
	c.t.Helper()
	o := []option.ClientOption{
		option.WithEndpoint(c.config.pubsub), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}

	topics, err := pubsub.NewTopicAdminClient(c.t.Context(), o...)
	if err != nil {
		c.t.Fatal(err)
	}
	defer topics.Close()
	if _, err := topics.CreateTopic(c.t.Context(), &pubsubpb.Topic{Name: c.topic}); err != nil {
		c.t.Fatal(err)
	}

	subscriptions, err := pubsub.NewSubscriptionAdminClient(c.t.Context(), o...)
	if err != nil {
		c.t.Fatal(err)
	}

	s, err := subscriptions.CreateSubscription(c.t.Context(), &pubsubpb.Subscription{
		Name: strings.Replace(c.topic, "/topics/", "/subscriptions/", 1), Topic: c.topic,
		PushConfig: &pubsubpb.PushConfig{PushEndpoint: c.push.URL + bus.PathEvents},
	})
	if err != nil {
		c.t.Fatal(err)
	}

	c.t.Cleanup(func() {
		defer subscriptions.Close()
		// The test's own emulator may be gone already.
		_ = subscriptions.DeleteSubscription(context.Background(), &pubsubpb.DeleteSubscriptionRequest{Subscription: s.Name})
	})
}

// tick is Cloud Scheduler. A tick that fails is followed by another one.
func (c *cloud) tick(functionsURL string) {
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup

	ended.Go(func() {
		every := time.NewTicker(tickEvery)
		defer every.Stop()

		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}

			token, err := c.issuer.IDToken(invoker, functionsURL+sweep.PathTick)
			if err != nil {
				c.t.Error(err)
				return
			}

			req, err := http.NewRequestWithContext(ctx, "POST", functionsURL+sweep.PathTick, http.NoBody)
			if err != nil {
				c.t.Error(err)
				return
			}

			req.Header.Set("Authorization", "Bearer "+token)
			if res, err := http.DefaultClient.Do(req); err == nil {
				res.Body.Close()
			}
		}
	})

	c.t.Cleanup(func() {
		stop()
		ended.Wait()
	})
}

func (c *cloud) programs() []*process {
	return append([]*process{c.cardserver, c.worker, c.functions}, c.others...)
}

// each does something to all of them at once.
func (c *cloud) each(do func(*process)) {
	var all sync.WaitGroup
	for _, p := range c.programs() {
		all.Go(func() { do(p) })
	}
	all.Wait()
}

func (c *cloud) kill()                     { c.each((*process).kill) }
func (c *cloud) stop()                     { c.each((*process).stop) }
func (c *cloud) start()                    { c.each((*process).start) }
func (c *cloud) url() string               { return c.clients }
func (c *cloud) client() *a2aclient.Client { return clientOf(c.t, c.clients) }

func (c *cloud) logged() (all string) {
	for _, p := range c.programs() {
		all += p.logged()
	}
	return all
}
