// Has OpenAI's own client, unmodified, run batches, and stops at the first difference.
//
//   node openai.mjs URL KEY OTHER-KEY
//
// URL is that of an agent whose model answers at once. The keys are those of two callers.
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI, { toFile } from 'openai';

const [url, key, otherKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const other = new OpenAI({ baseURL: `${url}/v1`, apiKey: otherKey });
const ok = (step) => console.log(`ok ${step}`);

const line = (id, content, body = {}) =>
  JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body: { model: 'errand', messages: [{ role: 'user', content }], ...body } });

const upload = async (lines) =>
  client.files.create({ file: await toFile(Buffer.from(lines.join('\n') + '\n'), 'lines.jsonl'), purpose: 'batch' });

const create = (file, metadata) =>
  client.batches.create({ input_file_id: file, endpoint: '/v1/chat/completions', completion_window: '24h', metadata });

const moment = () => new Promise((resolve) => setTimeout(resolve, 20)); // that is what polling is

const final = ['completed', 'failed', 'expired', 'cancelled'];

// ended polls a batch as its users do.
async function ended(id) {
  for (;;) {
    const batch = await client.batches.retrieve(id);
    if (final.includes(batch.status)) return batch;
    await moment();
  }
}

const read = async (file) => {
  const text = await (await client.files.content(file)).text();
  assert.ok(text.endsWith('\n'));
  return text.trimEnd().split('\n').map((l) => JSON.parse(l));
};

const n = 40;
const lines = Array.from({ length: n }, (_, i) => line(`line-${i}`, `hello ${i}`, i % 2 ? { temperature: 0 } : {}));

// A stream of a file on disk, which the client sends before the purpose.
const folder = await mkdtemp(join(tmpdir(), 'errand-openai-'));
const path = join(folder, 'lines.jsonl');
await writeFile(path, lines.join('\n') + '\n');
const input = await client.files.create({ file: createReadStream(path), purpose: 'batch', expires_after: { anchor: 'created_at', seconds: 86400 } });
await rm(folder, { recursive: true });
assert.equal(input.filename, 'lines.jsonl');
assert.equal(input.purpose, 'batch');
assert.equal((await client.files.retrieve(input.id)).bytes, input.bytes);
assert.equal(await (await client.files.content(input.id)).text(), lines.join('\n') + '\n');
assert.equal((await client.files.waitForProcessing(input.id)).status, 'processed');
ok('upload');

const made = await create(input.id, { night: '1' });
assert.equal(made.object, 'batch');
assert.equal(made.input_file_id, input.id);
assert.deepEqual(made.metadata, { night: '1' });
const done = await ended(made.id);
assert.equal(done.status, 'completed', JSON.stringify(done));
assert.deepEqual(done.request_counts, { total: n, completed: n, failed: 0 });
assert.ok(done.completed_at >= done.created_at && done.expires_at === done.created_at + 24 * 3600);
assert.ok(done.usage.total_tokens > 0 && done.usage.total_tokens === done.usage.input_tokens + done.usage.output_tokens);
assert.ok(!done.error_file_id);
ok('run a batch to its end');

const answers = await read(done.output_file_id);
assert.deepEqual(answers.map((a) => a.custom_id), lines.map((l) => JSON.parse(l).custom_id));
for (const [i, a] of answers.entries()) {
  assert.equal(a.error, null);
  assert.equal(a.response.status_code, 200);
  assert.equal(a.response.body.choices[0].message.role, 'assistant');
  assert.match(a.response.body.choices[0].message.content, new RegExp(`hello ${i}\\b`));
}
const output = await client.files.retrieve(done.output_file_id);
assert.equal(output.purpose, 'batch_output');
assert.equal(output.bytes, Buffer.byteLength(answers.map((a) => JSON.stringify(a) + '\n').join('')));
ok('download its answers');

const again = await create((await upload(lines)).id, { night: '1' });
assert.equal(again.id, made.id);
assert.equal(again.status, 'completed');
const anew = await create(input.id, { night: '2' });
assert.notEqual(anew.id, made.id);
assert.equal((await ended(anew.id)).status, 'completed');
ok('submit the same lines again');

// Two lines are answered. One asks its caller, who does not answer.
const asking = await create((await upload([line('one', 'hello'), line('two', '/ask which one?'), line('three', 'hello')])).id);
for (let states = []; states.join() !== 'TASK_STATE_COMPLETED,TASK_STATE_COMPLETED,TASK_STATE_INPUT_REQUIRED'; await moment()) {
  const items = await fetch(`${url}/tasks?contextId=${asking.id}`, { headers: { Authorization: `Bearer ${key}`, 'A2A-Version': '1.0' } });
  states = (await items.json()).tasks.map((t) => t.status.state).sort();
}
assert.equal((await client.batches.retrieve(asking.id)).status, 'in_progress');
assert.ok(['cancelling', 'cancelled'].includes((await client.batches.cancel(asking.id)).status));
const cancelled = await ended(asking.id);
assert.equal(cancelled.status, 'cancelled');
assert.deepEqual(cancelled.request_counts, { total: 3, completed: 2, failed: 1 });
assert.ok(cancelled.cancelled_at && cancelled.cancelling_at);
assert.deepEqual((await read(cancelled.output_file_id)).map((a) => a.custom_id), ['one', 'three']);
const [failure, ...more] = await read(cancelled.error_file_id);
assert.equal(failure.custom_id, 'two');
assert.ok(failure.response === null && failure.error.code && failure.error.message && more.length === 0);
ok('cancel another, and download both files');

const bad = await create((await upload([line('a', 'hello'), line('a', 'hello'), 'no JSON', line('b', 'hello', { model: 'gpt-4o' })])).id);
const failed = await ended(bad.id);
assert.equal(failed.status, 'failed');
assert.deepEqual(failed.errors.data.map((e) => [e.line, e.code]), [[2, 'duplicate_custom_id'], [3, 'invalid_json_line'], [4, 'model_mismatch']]);
assert.ok(failed.failed_at && !failed.output_file_id);
ok('submit bad lines');

const ids = [];
for await (const batch of client.batches.list({ limit: 2 })) ids.push(batch.id);
assert.deepEqual(ids, [bad.id, asking.id, anew.id, made.id]);
const purposes = [];
for await (const file of client.files.list({ limit: 3 })) purposes.push(file.purpose);
assert.deepEqual(purposes, [...Array(4).fill('batch'), ...Array(purposes.length - 4).fill('batch_output')]);
assert.equal(purposes.length, 4 + 5);
ok('list');

await assert.rejects(client.batches.cancel(made.id), OpenAI.ConflictError);
await assert.rejects(client.batches.create({ input_file_id: input.id, endpoint: '/v1/embeddings', completion_window: '24h' }), (error) => {
  assert.ok(error instanceof OpenAI.BadRequestError);
  assert.deepEqual([error.param, error.code, error.type], ['endpoint', 'invalid_value', 'invalid_request_error']);
  return true;
});
await assert.rejects(client.files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'vision' }), OpenAI.BadRequestError);
await assert.rejects(other.batches.retrieve(made.id), OpenAI.NotFoundError);
await assert.rejects(other.files.content(done.output_file_id), OpenAI.NotFoundError);
await assert.rejects(other.files.delete(input.id), OpenAI.NotFoundError);
await assert.rejects(new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-wrong' }).batches.list(), OpenAI.AuthenticationError);
ok('be refused');

for (const id of [done.output_file_id, input.id]) {
  assert.deepEqual(await client.files.delete(id), { id, object: 'file', deleted: true });
  await assert.rejects(client.files.content(id), OpenAI.NotFoundError);
}
assert.equal((await client.batches.retrieve(made.id)).status, 'completed');
ok('delete files');
