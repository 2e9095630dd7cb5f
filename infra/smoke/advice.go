package smoke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"

	"github.com/a2aproject/a2a-go/v2/a2a"
)

// explain says what an error means for whoever runs the agent.
func (r *run) explain(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if a, ok := errors.AsType[*answer](err); ok {
		return &fault{a.Error(), r.onAnswer(a)}
	}
	if f := r.onNetwork(err); f != nil {
		return f
	}
	if known, ok := errors.AsType[*a2a.Error](err); ok {
		var mend []string
		if errors.Is(known, a2a.ErrInternalError) {
			mend = []string{"the log of cardserver has the cause under that request"}
		}
		return wrong(mend, "it answers: %s", quote(known.Error()))
	}
	return wrong([]string{"either it does not speak the protocol that its card declares, or something in between changes answers"}, "%s", quote(err.Error()))
}

// onNetwork is what is wrong when there was no answer at all; nil: there was one.
func (r *run) onNetwork(err error) *fault {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return wrong([]string{
			"check the spelling; gcloud run services list shows the addresses of services",
			"a domain of your own needs a record that leads to the service",
		}, "the name %s is not known (DNS)", dns.Name)
	}

	switch _, notTLS := errors.AsType[tls.RecordHeaderError](err); {
	case notTLS || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return wrong([]string{"write http:// for an agent on this machine; elsewhere put TLS in front of it"}, "%s does not speak TLS", r.base.Host)
	case isCertificate(err):
		return wrong([]string{
			"the address must be one that the certificate is for; a new domain on Google Cloud gets its certificate within an hour",
			"for an authority of your own, name its file in SSL_CERT_FILE",
		}, "the certificate of %s is not accepted: %s", r.base.Host, certificate(err))

	case errors.Is(err, syscall.ECONNREFUSED):
		return wrong([]string{
			"start it (go run ./cardserver), or correct the port: PORT and ERRAND_LISTEN decide it, and its log names it",
			"in a container it must listen on all interfaces: ERRAND_LISTEN=0.0.0.0:8080",
		}, "nobody listens at %s", r.base.Host)

	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return wrong([]string{
			"a firewall may drop what is sent there; a service whose ingress is internal answers only from inside its network",
			"or the agent hangs: its log says with what",
		}, "no answer from %s in time", r.base.Host)

	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		return wrong([]string{"the process ended or was replaced while it answered: its log says why; then try again"}, "%s closed the connection without an answer", r.base.Host)
	}

	if op, ok := errors.AsType[*net.OpError](err); ok {
		return wrong([]string{"check the address, and the network between here and there"}, "%s cannot be reached: %s", r.base.Host, op.Err)
	}

	return nil
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func isCertificate(err error) bool { return certificate(err) != "" }

// certificate is what is wrong with one. Go checks it by itself or asks the system.
func certificate(err error) string {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return e.Error()
	}
	return ""
}

// onAnswer is how to mend what an answer of HTTP itself says.
func (r *run) onAnswer(a *answer) []string {
	switch {
	case a.status >= 300 && a.status < 400:
		return []string{
			"it redirects to " + quote(a.location) + ": try that address, if it is the agent's",
			"a page to log in at is put there by a proxy (such as IAP) that programs cannot use: let them pass, and let the agent ask who they are",
		}

	case a.status == http.StatusUnauthorized:
		return r.onUnauthorized(a)
	case a.status == http.StatusForbidden:
		return r.onForbidden(a)
	case a.status == http.StatusNotFound:
		return []string{
			"give the address of the agent: " + cardPath + " is asked for below it",
			"Cloud Run answers so too when there is no such service, or when its ingress is internal: gcloud run services list",
		}

	case a.status == http.StatusMisdirectedRequest:
		return []string{
			"the agent listens on loopback and is asked under another name: ask http://127.0.0.1 with its port",
			"or set ERRAND_URL to the address it is reached at",
		}

	case a.status == http.StatusTooManyRequests:
		return []string{"wait" + inSeconds(a.retry) + "; after wrong credentials an address is slowed down", "from Cloud Run itself: no instance was free, so allow more of them (instances in infra/variables.tf)"}
	case a.status == http.StatusBadRequest && strings.Contains(a.message, "HTTPS"):
		return []string{"write https://"}
	case a.status == http.StatusServiceUnavailable && a.page:
		return []string{"Cloud Run has no instance that started: the log of cardserver names the variable, the secret or the right that is missing"}

	case a.status == http.StatusServiceUnavailable:
		return []string{
			"try again" + inSeconds(a.retry) + ": its store, or the issuer whose keys it needs, did not answer",
			"if it stays so: the log of cardserver names which",
		}

	case a.status >= 500:
		return []string{"the log of cardserver has the cause; from a load balancer: whether it reaches the service at all"}
	}

	return []string{"something between here and the agent answers so: the agent itself does not"}
}

func inSeconds(retry string) string {
	if retry == "" || strings.Trim(retry, "0123456789") != "" {
		return ""
	}
	return " in " + retry + " s"
}

var audienceForm = regexp.MustCompile(`audience="([^"]*)"`)

// onUnauthorized says which credentials are wanted, and how to have them.
func (r *run) onUnauthorized(a *answer) []string {
	if a.page { // not the agent's own words
		return []string{
			"Cloud Run itself asks for an ID token of somebody with roles/run.invoker: let everybody in and have the agent ask (clients = [\"allUsers\"] in infra)",
			"or -token with " + tokenCommand(r.base.Scheme+"://"+r.base.Host),
		}
	}

	var mend []string
	switch {
	case r.Key == "" && r.Token == "":
		mend = append(mend, "no credentials were sent: -key or -token, as @FILE so that they stand in no list of processes")
	case r.Key != "" && r.courier.keyHeader != "":
		mend = append(mend, "the key was sent as "+r.courier.keyHeader)
	case r.Key != "":
		mend = append(mend, "the key was sent as Authorization: Bearer")
	default:
		mend = append(mend, "the token was sent as Authorization: Bearer; it is valid for an hour at most")
	}

	audience := ""
	if m := audienceForm.FindStringSubmatch(a.challenge); m != nil {
		audience, _, _ = strings.Cut(m[1], " ")
	}
	if a.challenge != "" {
		mend = append(mend, "it wants: "+quote(a.challenge))
	}
	if a.message == "" || strings.Contains(a.message, "API key") {
		mend = append(mend, "a key: go run ./cardserver key NAME prints one and its line for the access file (ERRAND_ACCESS), which instances read when they start")
	}

	if audience != "" {
		mend = append(mend, "a token: "+tokenCommand(audience))
	}

	return mend
}

// tokenCommand makes a Google ID token. Only service accounts can choose the audience.
func tokenCommand(audience string) string {
	return "gcloud auth print-identity-token --audiences=" + quote(audience) +
		" (with your own account add --impersonate-service-account=EMAIL --include-email)"
}

func (r *run) onForbidden(a *answer) []string {
	if a.page {
		mend := []string{
			"Cloud Run itself refuses: let everybody in and have the agent ask who they are: " +
				"gcloud run services add-iam-policy-binding SERVICE --region=REGION --member=allUsers --role=roles/run.invoker (with infra: clients = [\"allUsers\"])",
			"an organisation may forbid allUsers (iam.allowedPolicyMemberDomains): then give roles/run.invoker to who calls",
		}
		if r.Token == "" {
			return append(mend, "and send -token with "+tokenCommand(r.base.Scheme+"://"+r.base.Host))
		}
		return append(mend, "the token that was sent is of somebody without that role")
	}
	return []string{"whoever runs the agent has to add you to its access file (ERRAND_ACCESS): the e-mail address or subject of the token, under a principal"}
}

// Where to look when a task does not get on; infra names things so unless its prefix is
// another.
var (
	submittedAdvice = []string{
		"nobody takes the work. On one machine: the log of the agent. On Google Cloud:",
		"gcloud tasks list --queue=errand-turns --location=REGION: a task with attempts is dispatched and refused (next lines), a task without is waiting for a paused queue, and none was never added (last line)",
		"log of worker, \"request refused at the door\": ERRAND_INVOKER and ERRAND_WORKER_URL must be those that cardserver has; the line names the audience and the reason",
		"attempts with 401 or 403 and nothing in that log: Cloud Run's own check is on and ERRAND_INVOKER lacks roles/run.invoker on worker; 404: ERRAND_WORKER_URL is wrong; 503 or none: worker does not start, its log says why",
		"log of cardserver, \"job not added\": it lacks roles/cloudtasks.enqueuer or ERRAND_QUEUE is wrong; the sweep brings the work back within two minutes once that is mended",
	}
	workingAdvice = []string{
		"a worker has it and the model does not answer: the log of worker names its error (ERRAND_MODEL, its key, roles/aiplatform.user, quota)",
		"if it is only slow: -timeout 5m",
	}
	failedAdvice = []string{
		"the log of worker says why, under that task: usually the model (ERRAND_MODEL, its key, roles/aiplatform.user) or a tool",
	}
	cutAdvice = []string{
		"what is in between ends long answers or holds them back: raise its timeout (Cloud Run: 3600 s) and switch its buffering off for text/event-stream",
		"or the process ended: the log of cardserver says why",
	}
)

// late is a task that did not end in time.
func (b *binding) late(task *a2a.Task) *fault {
	mend := workingAdvice
	if task.Status.State == a2a.TaskStateSubmitted {
		mend = submittedAdvice
	}
	say := ""
	if words := said(task.Status.Message); words != "" {
		say = ", and says: " + words
	}
	return wrong(mend, "task %s is still %s after %v%s", quote(string(task.ID)), state(task.Status.State), b.Timeout, say)
}

// slow is a stream that did not end in time.
func (b *binding) slow(w *watched) *fault {
	if w.task == nil {
		return wrong(cutAdvice, "no event came in %v", b.Timeout)
	}
	return b.late(w.task)
}

// cut is a stream that ended before its task.
func (w *watched) cut(err error) *fault {
	why := ""
	if err != nil {
		why = ": " + quote(err.Error())
	}
	return &fault{fmt.Sprintf("the stream was cut after %d events, when %s%s", w.events, w.last(), why), cutAdvice}
}
