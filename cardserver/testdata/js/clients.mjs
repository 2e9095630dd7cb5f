// The clients of others, each brought into one form. What goes over the wire, and what
// of the answers they understand, is theirs.
import { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory, RestTransportFactory } from '@a2a-js/sdk/client';
import { Role, taskStateFromJSON, taskStateToJSON } from '@a2a-js/sdk';
import {
  ClientFactory as OldClientFactory,
  JsonRpcTransportFactory as OldJsonRpcTransportFactory,
  RestTransportFactory as OldRestTransportFactory,
} from 'a2a-js-old/client';

const legacyCompat = { enabled: true };

const rpc1 = /^POST \/ [A-Z][A-Za-z]+$/;
const rest1 = /^[A-Z]+ \/(message|tasks)\S* $/;
const rpc03 = /^POST \/ [a-z]+\/[A-Za-z/]+$/;
const rest03 = /^[A-Z]+ \/v1\/\S+ $/;

// By name: how to connect, and what is peculiar.
//   speaks         what its requests look like: HTTP method, path, and JSON-RPC method
//   old            it speaks 0.3
//   forgetsAppend  it does not tell whether a piece of an artifact follows the one before
export const clients = {
  '1.3.0, 1.0 JSON-RPC': { connect: (url) => current(url, new JsonRpcTransportFactory()), speaks: rpc1 },
  '1.3.0, 1.0 HTTP+JSON': { connect: (url) => current(url, new RestTransportFactory()), speaks: rest1 },
  '1.3.0, 0.3 JSON-RPC': { connect: (url) => compat(url, new JsonRpcTransportFactory({ legacyCompat })), speaks: rpc03, old: true },
  '1.3.0, 0.3 HTTP+JSON': {
    connect: (url) => compat(url, new RestTransportFactory({ legacyCompat })),
    speaks: rest03,
    old: true,
    forgetsAppend: true,
  },
  '0.3.14, JSON-RPC': { connect: (url) => former(url, new OldJsonRpcTransportFactory()), speaks: rpc03, old: true },
  '0.3.14, HTTP+JSON': { connect: (url) => former(url, new OldRestTransportFactory()), speaks: rest03, old: true, forgetsAppend: true },
};

async function current(url, transport) {
  const factory = new ClientFactory({ transports: [transport] });
  return new Current(await factory.createFromUrl(url), true);
}

// The client takes 1.0 wherever a card offers it, so it is given what the card says to
// clients of 0.3 alone, from where those look for it.
async function compat(url, transport) {
  const card = await (await fetch(new URL('/.well-known/agent.json', url))).json();
  delete card.supportedInterfaces;
  const cardResolver = new DefaultAgentCardResolver({ legacyCompat });
  const factory = new ClientFactory({ transports: [transport], cardResolver });
  return new Current(await factory.createFromAgentCard(card), false);
}

async function former(url, transport) {
  const factory = new OldClientFactory({ transports: [transport] });
  return new Former(await factory.createFromUrl(url));
}

// What an error is, by its name. Malformed requests, which 1.3.0 takes invalid params and
// unknown methods for, are one kind.
const named = {
  TaskNotFoundError: 'not found',
  TaskNotCancelableError: 'not cancelable',
  UnsupportedOperationError: 'unsupported',
  RequestMalformedError: 'invalid',
};

// 0.3.14 has no name for invalid params, nor for what refuses a stream: there the code is
// in the text alone.
const coded = { '-32001': 'not found', '-32002': 'not cancelable', '-32004': 'unsupported', '-32602': 'invalid' };

export function kindOf(error) {
  if (named[error.name]) return named[error.name];
  const code = /\(Code: (-\d+)\)/.exec(error.message)?.[1];
  return coded[code] ?? `${error.name}: ${error.message}`;
}

const plainState = (s) => taskStateToJSON(s).replace('TASK_STATE_', '').toLowerCase().replace('_', '-');

// Current is the client of 1.3.0, in either version of the protocol.
class Current {
  constructor(client, lists) {
    this.client = client;
    if (!lists) this.list = undefined; // it refuses that by itself in 0.3
  }

  #request({ id, text, task, context, immediately, hook }) {
    return {
      message: {
        messageId: id,
        role: Role.ROLE_USER,
        parts: [{ content: { $case: 'text', value: text }, filename: '', mediaType: '' }],
        taskId: task ?? '',
        contextId: context ?? '',
      },
      configuration: {
        acceptedOutputModes: [],
        returnImmediately: immediately ?? false,
        taskPushNotificationConfig: hook && { taskId: '', tenant: '', id: hook.id ?? '', url: hook.url, token: hook.token ?? '' },
      },
    };
  }

  static #text = (parts) => (parts ?? []).map((p) => (p.content?.$case === 'text' ? p.content.value : '')).join('');

  static #task(t) {
    return {
      id: t.id,
      context: t.contextId,
      state: plainState(t.status.state),
      says: Current.#text(t.status.message?.parts),
      artifacts: t.artifacts.map((a) => ({ id: a.artifactId, text: Current.#text(a.parts) })),
      history: t.history.map((m) => ({ id: m.messageId, role: m.role === Role.ROLE_USER ? 'user' : 'agent' })),
    };
  }

  static async *#events(stream) {
    for await (const { payload } of stream) {
      const v = payload.value;
      switch (payload.$case) {
        case 'task':
          yield { kind: 'task', task: Current.#task(v) };
          break;
        case 'statusUpdate':
          yield { kind: 'status', id: v.taskId, state: plainState(v.status.state) };
          break;
        case 'artifactUpdate':
          yield { kind: 'artifact', artifact: v.artifact.artifactId, text: Current.#text(v.artifact.parts), append: v.append };
          break;
        default:
          yield { kind: payload.$case };
      }
    }
  }

  send = async (m) => Current.#task(await this.client.sendMessage(this.#request(m)));
  stream = (m) => Current.#events(this.client.sendMessageStream(this.#request(m)));
  subscribe = (id) => Current.#events(this.client.resubscribeTask({ id, tenant: '' }));
  get = async (id, historyLength) => Current.#task(await this.client.getTask({ id, historyLength, tenant: '' }));
  cancel = async (id) => Current.#task(await this.client.cancelTask({ id, tenant: '' }));

  list = async ({ context, state, pageSize, pageToken }) => {
    const status = taskStateFromJSON(state ? `TASK_STATE_${state.toUpperCase()}` : 0);
    const page = await this.client.listTasks({ tenant: '', contextId: context, status, pageSize, pageToken: pageToken ?? '' });
    return { tasks: page.tasks.map(Current.#task), next: page.nextPageToken };
  };

  static #hook = (h) => ({ task: h.taskId, id: h.id, url: h.url });

  createHook = async ({ task, id, url, bearer }) => {
    const authentication = bearer && { scheme: 'Bearer', credentials: bearer };
    return Current.#hook(await this.client.createTaskPushNotificationConfig({ tenant: '', taskId: task, id: id ?? '', url, token: '', authentication }));
  };
  getHook = async (task, id) => Current.#hook(await this.client.getTaskPushNotificationConfig({ tenant: '', taskId: task, id }));
  listHooks = async (task) => (await this.client.listTaskPushNotificationConfig({ tenant: '', taskId: task, pageSize: 0, pageToken: '' })).configs.map(Current.#hook);
  deleteHook = (task, id) => this.client.deleteTaskPushNotificationConfig({ tenant: '', taskId: task, id });
}

// Former is the client of 0.3.14.
class Former {
  constructor(client) {
    this.client = client;
  }

  #params({ id, text, task, context, immediately, hook }) {
    return {
      message: { kind: 'message', messageId: id, role: 'user', parts: [{ kind: 'text', text }], taskId: task, contextId: context },
      configuration: { blocking: !immediately, pushNotificationConfig: hook },
    };
  }

  static #text = (parts) => (parts ?? []).map((p) => p.text ?? '').join('');

  static #task(t) {
    return {
      id: t.id,
      context: t.contextId,
      state: t.status.state,
      says: Former.#text(t.status.message?.parts),
      artifacts: (t.artifacts ?? []).map((a) => ({ id: a.artifactId, text: Former.#text(a.parts) })),
      history: (t.history ?? []).map((m) => ({ id: m.messageId, role: m.role })),
    };
  }

  static async *#events(stream) {
    for await (const e of stream) {
      switch (e.kind) {
        case 'task':
          yield { kind: 'task', task: Former.#task(e) };
          break;
        case 'status-update':
          yield { kind: 'status', id: e.taskId, state: e.status.state };
          break;
        case 'artifact-update':
          yield { kind: 'artifact', artifact: e.artifact.artifactId, text: Former.#text(e.artifact.parts), append: e.append };
          break;
        default:
          yield { kind: e.kind };
      }
    }
  }

  send = async (m) => Former.#task(await this.client.sendMessage(this.#params(m)));
  stream = (m) => Former.#events(this.client.sendMessageStream(this.#params(m)));
  subscribe = (id) => Former.#events(this.client.resubscribeTask({ id }));
  get = async (id, historyLength) => Former.#task(await this.client.getTask({ id, historyLength }));
  cancel = async (id) => Former.#task(await this.client.cancelTask({ id }));

  static #hook = (h) => ({ task: h.taskId, id: h.pushNotificationConfig.id, url: h.pushNotificationConfig.url });

  createHook = async ({ task, id, url, bearer }) => {
    const authentication = bearer && { schemes: ['Bearer'], credentials: bearer };
    return Former.#hook(await this.client.setTaskPushNotificationConfig({ taskId: task, pushNotificationConfig: { id, url, authentication } }));
  };
  getHook = async (task, id) => Former.#hook(await this.client.getTaskPushNotificationConfig({ id: task, pushNotificationConfigId: id }));
  listHooks = async (task) => (await this.client.listTaskPushNotificationConfig({ id: task })).map(Former.#hook);
  deleteHook = (task, id) => this.client.deleteTaskPushNotificationConfig({ id: task, pushNotificationConfigId: id });
}
