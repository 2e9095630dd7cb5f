// Has one client go through the scenario and stops at the first difference.
//
//   node scenario.mjs                               names the clients
//   node scenario.mjs CLIENT PROMPT HELD HOOK-PORT  runs one of them
//
// PROMPT is the URL of an agent that answers at once and may send webhooks to the port;
// HELD that of one whose model holds every answer.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { clients, kindOf } from './clients.mjs';

const [name, promptURL, heldURL, port] = process.argv.slice(2);
if (!name) {
  console.log(Object.keys(clients).join('\n'));
  process.exit(0);
}
const { connect, speaks, old, forgetsAppend } = clients[name];
const hooksURL = `http://127.0.0.1:${port}`;

const text = (task) => task.artifacts.map((a) => a.text).join('');
const ended = (task) => ['completed', 'failed', 'canceled', 'rejected'].includes(task.state);

async function until(client, id, what, wanted) {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    const task = await client.get(id);
    if (wanted(task)) return task;
    await new Promise((resolve) => setTimeout(resolve, 10)); // that is what polling is
  }
  assert.fail(`the task did not become ${what}`);
}

// Requests are in the version and binding that they should be in.
const send = globalThis.fetch;
globalThis.fetch = async (url, init) => {
  const { pathname } = new URL(url);
  if (!pathname.startsWith('/.well-known/')) {
    const method = pathname === '/' ? JSON.parse(init.body).method : '';
    assert.match(`${init.method} ${pathname} ${method}`, speaks);
  }
  return send(url, init);
};

async function refused(kind, what, attempt) {
  try {
    const got = await attempt();
    assert.fail(`${what} was answered with ${JSON.stringify(got)}`);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    assert.equal(kindOf(error), kind, what);
    return error;
  }
}

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const kinds = (events) => events.map((e) => (e.kind === 'status' ? e.state : e.kind));

// said puts together what a stream said.
function said(events) {
  const artifacts = new Map();
  for (const e of events) {
    if (e.kind === 'task') for (const a of e.task.artifacts) artifacts.set(a.id, a.text);
    if (e.kind !== 'artifact') continue;
    const before = e.append || forgetsAppend ? (artifacts.get(e.artifact) ?? '') : '';
    artifacts.set(e.artifact, before + e.text);
  }
  return [...artifacts.values()].join('');
}

// posts are the webhooks that came, by path, until somebody asks for them.
const posts = new Map();
const postsAt = (path) => {
  if (!posts.has(path)) posts.set(path, { came: [], waiting: [] });
  return posts.get(path);
};
const mailbox = createServer(async (request, response) => {
  let body = '';
  for await (const piece of request.setEncoding('utf8')) body += piece;
  response.end();
  const { came, waiting } = postsAt(request.url);
  const post = { headers: request.headers, body: JSON.parse(body) };
  const waits = waiting.shift();
  waits ? waits(post) : came.push(post);
});

function nextPost(path) {
  const { came, waiting } = postsAt(path);
  return came.length ? came.shift() : new Promise((resolve) => waiting.push(resolve));
}

// hears reads what came to a path, until a state. 0.3 is told the bare task, 1.0 what a
// stream says.
async function hears(path, task, state, token, auth) {
  for (;;) {
    const { headers, body } = await nextPost(path);
    const came = [headers[old ? 'x-a2a-notification-token' : 'a2a-notification-token'], headers.authorization];
    assert.deepEqual(came, [token, auth], `token and credentials at ${path}`);
    let status;
    if (old) {
      assert.equal(body.kind, 'task', JSON.stringify(body));
      assert.equal(body.id, task.id);
      status = body.status;
    } else {
      const [[kind, value], ...more] = Object.entries(body);
      assert.ok(['task', 'statusUpdate', 'artifactUpdate'].includes(kind) && !more.length, JSON.stringify(body));
      assert.equal(kind === 'task' ? value.id : value.taskId, task.id);
      status = value.status;
    }
    if (status?.state === (old ? state : `TASK_STATE_${state.toUpperCase().replace('-', '_')}`)) return;
  }
}

const scenario = {
  async 'send and wait'({ client }) {
    const task = await client.send({ id: 'send', text: 'hello there' });
    assert.equal(task.state, 'completed');
    assert.match(text(task), /You said: hello there/);
    assert.deepEqual(await client.send({ id: 'send', text: 'hello there' }), task, 'the same message again');
    await refused('invalid', 'the same id with another text', () => client.send({ id: 'send', text: 'something else' }));
    await refused('unsupported', 'a message to a task that has ended', () => client.send({ id: 'late', task: task.id, text: 'one more thing' }));
  },

  async 'send and poll'({ client, held }) {
    const task = await client.send({ id: 'poll', text: 'hello there', immediately: true });
    const done = await until(client, task.id, 'ended', ended);
    assert.equal(done.state, 'completed');
    assert.match(text(done), /You said: hello there/);
    const waits = await held.send({ id: 'poll', text: 'hello there', immediately: true });
    assert.ok(!ended(waits), `${waits.state} before there is an answer`);
  },

  async stream({ client }) {
    const events = await all(client.stream({ id: 'stream', text: 'hello there' }));
    assert.equal(kinds(events)[0], 'task');
    assert.equal(kinds(events).at(-1), 'completed');
    const task = await client.get(events[0].task.id);
    assert.equal(said(events), text(task));
    assert.match(said(events), /You said: hello there/);
    const refusal = await refused('unsupported', 'subscribing to a task that has ended', () => all(client.subscribe(task.id)));
    assert.match(refusal.message, /the task has ended; read it with GetTask/);
  },

  async subscribe({ client, second }) {
    const task = await client.send({ id: 'subscribe', text: '/ask Which colour?' });
    const stream = second.subscribe(task.id);
    const { value: first } = await stream.next();
    assert.equal(first.task?.id, task.id);
    assert.equal(first.task.state, 'input-required');
    const done = await client.send({ id: 'subscribe-2', task: task.id, text: 'blue' });
    const events = [first, ...(await all(stream))];
    assert.equal(kinds(events).at(-1), 'completed');
    assert.equal(said(events), text(done));
    assert.match(said(events), /blue/);
  },

  async 'be asked'({ client }) {
    const task = await client.send({ id: 'ask', text: '/ask Which colour?' });
    assert.equal(task.state, 'input-required');
    assert.equal(task.says, 'Which colour?');
    const done = await client.send({ id: 'ask-2', task: task.id, context: task.context, text: 'blue, please' });
    assert.equal(done.id, task.id);
    assert.equal(done.state, 'completed');
    assert.match(text(done), /blue, please/);
    const { history } = await client.get(task.id);
    assert.deepEqual(history.map((m) => m.role), ['user', 'agent', 'user']);
    const { history: short } = await client.get(task.id, 1);
    assert.deepEqual(short.map((m) => m.id), ['ask-2']);
  },

  async 'have a tool called'({ client }) {
    const task = await client.send({ id: 'tool', text: '/tool clock {"zone":"UTC"}' });
    assert.equal(task.state, 'completed');
    assert.match(text(task), /clock answered:.*UTC/);
  },

  async cancel({ held }) {
    const task = await held.send({ id: 'cancel', text: 'hello', immediately: true });
    await until(held, task.id, 'working', (now) => now.state === 'working');
    const stream = held.subscribe(task.id);
    const { value: first } = await stream.next();
    assert.equal(first.task?.state, 'working');
    const gone = await held.cancel(task.id);
    assert.equal(gone.id, task.id);
    assert.equal(gone.state, 'canceled');
    assert.equal(kinds(await all(stream)).at(-1), 'canceled');
    await refused('not cancelable', 'cancelling again', () => held.cancel(task.id));
  },

  async 'what is not there'({ client }) {
    const nobody = 'nosuchtask';
    await refused('not found', 'sending to nobody', () => client.send({ id: 'lost', task: nobody, text: 'hello?' }));
    await refused('not found', 'reading nothing', () => client.get(nobody));
    await refused('not found', 'cancelling nothing', () => client.cancel(nobody));
    await refused('not found', 'a webhook of nothing', () => client.createHook({ task: nobody, url: hooksURL }));
  },

  async list({ client }) {
    if (!client.list) return; // 0.3 has it in HTTP+JSON alone, and these clients nowhere in 0.3
    for (let i = 0; i < 5; i++) await client.send({ id: `list-${i}`, context: ['red', 'blue'][i % 2], text: 'hello' });
    const asked = await client.send({ id: 'list-ask', context: 'red', text: '/ask Which?' });
    await client.cancel(asked.id);
    for (const [query, want, wantPages] of [
      [{ context: 'red', pageSize: 3 }, 4, 2],
      [{ context: 'red', state: 'completed', pageSize: 1 }, 3, 3],
      [{ context: 'red', state: 'canceled' }, 1, 1],
      [{ context: 'green' }, 0, 1],
    ]) {
      const what = JSON.stringify(query);
      const seen = new Set();
      let pages = 0;
      for (let pageToken; pages === 0 || pageToken; pages++) {
        const page = await client.list({ ...query, pageToken });
        for (const task of page.tasks) {
          assert.equal(task.context, 'red', what);
          assert.equal(task.state, query.state ?? task.state, what);
          assert.deepEqual(task.artifacts, [], what);
          seen.add(task.id);
        }
        pageToken = page.next;
      }
      assert.deepEqual([seen.size, pages], [want, wantPages], `tasks and pages of ${what}`);
    }
  },

  async webhooks({ client }) {
    const ids = async () => (await client.listHooks(task.id)).map((h) => h.id).sort();
    const task = await client.send({ id: 'told', text: '/ask Which?', hook: { id: 'inline', url: `${hooksURL}/inline`, token: 'secret' } });
    await hears('/inline', task, 'input-required', 'secret');

    const made = await client.createHook({ task: task.id, id: 'later', url: `${hooksURL}/later`, bearer: 'key' });
    assert.deepEqual(made, { task: task.id, id: 'later', url: `${hooksURL}/later` });
    assert.deepEqual(await client.getHook(task.id, 'later'), made);
    assert.deepEqual(await ids(), ['inline', 'later']);

    await client.send({ id: 'told-2', task: task.id, text: 'that one' });
    await hears('/inline', task, 'completed', 'secret');
    await hears('/later', task, 'completed', undefined, 'Bearer key');

    await client.deleteHook(task.id, 'later');
    assert.deepEqual(await ids(), ['inline']);
    await refused('not found', 'reading a webhook that was deleted', () => client.getHook(task.id, 'later'));
  },

  async 'dangerous webhooks'({ client }) {
    const task = await client.send({ id: 'danger', text: '/ask Which?' });
    for (const url of ['http://127.0.0.1:1/', 'https://10.0.0.1/', 'https://metadata.google.internal/', 'ftp://example.com/']) {
      await refused('invalid', `a webhook at ${url}`, () => client.createHook({ task: task.id, url }));
      await refused('invalid', `a message with a webhook at ${url}`, () => client.send({ id: 'danger-2', text: 'hello', hook: { url } }));
    }
    assert.deepEqual(await client.listHooks(task.id), []);
  },
};

let step = 'connect';
try {
  mailbox.listen(Number(port), '127.0.0.1');
  await once(mailbox, 'listening');
  const scene = { client: await connect(promptURL), second: await connect(promptURL), held: await connect(heldURL) };
  for (step of Object.keys(scenario)) {
    await scenario[step](scene);
    console.log(`ok ${step}`);
  }
  process.exit(0); // connections that are kept alive would keep it running
} catch (error) {
  console.error(`${step}: ${error.stack}`);
  process.exit(1);
}
