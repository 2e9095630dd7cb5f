// Finds the agent by its card, checks the card's signature with the SDK's verifier, and asks the agent.
//
//   node card.mjs URL KEYS [FILE]
//
// URL is the address of the agent, KEYS a file with the key set that its operator gave, and FILE a card that
// was given instead of the served one. It prints "verified NAME" and the state of the task.

import { readFile } from 'node:fs/promises';

import { AgentCard, Role, verifyAgentCardSignature } from '@a2a-js/sdk';
import { ClientFactory, DefaultAgentCardResolver } from '@a2a-js/sdk/client';

const [url, keysFile, cardFile] = process.argv.slice(2);
const { keys } = JSON.parse(await readFile(keysFile, 'utf8'));
const card = cardFile
  ? AgentCard.fromJSON(JSON.parse(await readFile(cardFile, 'utf8')))
  : await new DefaultAgentCardResolver().resolve(url);

await verifyAgentCardSignature(async (kid) => {
  const key = keys.find((key) => key.kid === kid);
  if (!key) throw new Error(`no key ${kid}`);
  return key;
})(card);
console.log('verified', card.name);

const client = await new ClientFactory().createFromAgentCard(card);
const answer = await client.sendMessage({
  message: { messageId: crypto.randomUUID(), role: Role.ROLE_USER, parts: [{ content: { $case: 'text', value: 'hello' } }] },
});
console.log('answered', answer.status ? 'by a task' : 'by a message');
