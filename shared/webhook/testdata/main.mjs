import { readFileSync } from "node:fs";
import { verifyV1 } from "./verify-v1.mjs";
import { verifyV1a } from "./verify-v1a.mjs";
import { fetchKeys, verifyToken } from "./verify-token.mjs";

const sets = new Map();
const verdicts = [];
for (const d of JSON.parse(readFileSync(0, "utf8"))) {
  const body = Buffer.from(d.Body, "base64");
  switch (d.Kind) {
    case "v1":
      verdicts.push(verifyV1(d.Secrets, d.Headers, body, d.Now));
      break;
    case "v1a":
      verdicts.push(verifyV1a(d.PublicKeys, d.Headers, body, d.Now));
      break;
    case "token":
      if (!sets.has(d.Issuer)) sets.set(d.Issuer, await fetchKeys(d.Issuer));
      verdicts.push(verifyToken(sets.get(d.Issuer), d.Issuer, d.Audience, d.Subjects, d.Headers, d.Now));
      break;
    default:
      throw new Error(`there is no kind ${d.Kind}`);
  }
}
console.log(JSON.stringify(verdicts));
