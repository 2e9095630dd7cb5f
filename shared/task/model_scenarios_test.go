package task_test

func scenarios() []scenario {
	answer, meanwhile := followUp(2, whenAsked), followUp(2, anytime)
	return []scenario{
		{
			name: "crash and duplicate", requests: []request{send, send, cancel}, inline: 1, workers: 2, couriers: 1,
			budget: budget{crash: 1}, also: budget{duplicate: 1, crash: 1},
		}, {
			name: "crashes only", requests: []request{send, send}, inline: 1, workers: 2, couriers: 1, prompt: true,
			budget: budget{crash: 2}, later: []request{cancel}, overlaps: 1,
		}, {
			name: "queue outage and cancel", requests: []request{send, cancel}, inline: 1, workers: 2, couriers: 1,
			budget: budget{outage: 2, crash: 1}, also: budget{crash: 1, duplicate: 1}, overlaps: 1,
		}, {
			name: "queue and bus loss", requests: []request{send, cancel}, inline: 1, workers: 2, couriers: 1,
			budget: budget{queueLoss: 2, busLoss: 1}, also: budget{crash: 1, duplicate: 1}, overlaps: 1,
		}, {
			name: "lost answers", requests: []request{send, answer, cancel}, asks: true, inline: 1, workers: 1, couriers: 1,
			prompt: true, budget: budget{lost: 2}, also: budget{duplicate: 1},
		}, {
			name: "zombie", requests: []request{send}, fails: true, speaks: true, workers: 2,
			budget: budget{expire: 2, crash: 1, lost: 1}, also: budget{duplicate: 1}, later: []request{cancel},
		}, {
			name: "second turn", requests: []request{send, answer}, asks: true, speaks: true, workers: 2,
			budget: budget{expire: 1, crash: 1, lost: 1}, later: []request{answer}, also: budget{duplicate: 1},
		}, {
			name: "second turn, crashes", requests: []request{send, answer, cancel}, asks: true, inline: 1, workers: 2, couriers: 1,
			budget: budget{crash: 1}, also: budget{outage: 1}, later: []request{send},
		}, {
			name: "inbox", requests: []request{send, meanwhile, meanwhile}, asks: true, fails: true, workers: 2,
			budget: budget{crash: 1, lost: 1}, also: budget{expire: 1}, later: []request{followUp(3, anytime)},
		}, {
			name: "inbox and cancel", requests: []request{send, followUp(2, whenWorking), cancel}, inline: 1, workers: 2, couriers: 1,
			park: 30, budget: budget{crash: 1, outage: 1, throttle: 1}, also: budget{expire: 1},
		}, {
			name: "two hooks", requests: []request{send}, inline: 2, speaks: true, workers: 1, couriers: 1,
			budget: budget{busLoss: 1, refuse: 2, lost: 1}, also: budget{crash: 1}, overlaps: 1,
		}, {
			name: "dead hooks", requests: []request{send, answer}, asks: true, inline: 1, workers: 1, couriers: 2,
			budget: budget{refuse: 3, gone: 1, duplicate: 1}, later: []request{{do: setsWebhook, arg: 1}},
		}, {
			name: "replaced hook", requests: []request{send, answer, {do: replacesWebhook, arg: 1}}, asks: true, inline: 1,
			workers: 1, couriers: 2, budget: budget{lost: 1, duplicate: 1},
		}, {
			name: "re-driven hook", requests: []request{send, answer, {do: redrivesWebhook, arg: 1}}, asks: true, inline: 1,
			workers: 1, couriers: 2, budget: budget{gone: 1, lost: 1}, also: budget{duplicate: 1},
		}, {
			name: "dropped hook", requests: []request{send, {do: dropsWebhook, arg: 1}, {do: setsWebhook, arg: 2}}, speaks: true, inline: 1,
			workers: 1, couriers: 1, budget: budget{lost: 1, refuse: 1}, later: []request{{do: setsWebhook, arg: 1}}, overlaps: 1,
		}, {
			name: "throttled, short", requests: []request{send, meanwhile, cancel}, asks: true, workers: 2, park: 30,
			budget: budget{throttle: 2, lost: 1, outage: 1}, also: budget{duplicate: 1, crash: 1},
		}, {
			name: "throttled, long", requests: []request{send, meanwhile}, workers: 2, park: 300,
			budget: budget{throttle: 2, expire: 1, crash: 1}, later: []request{cancel}, also: budget{queueLoss: 1},
		}, {
			name: "held", requests: []request{send, cancel}, inline: 1, workers: 1, couriers: 1, park: 30,
			budget: budget{gated: 1, lost: 1, crash: 1}, also: budget{gated: 1}, later: []request{send},
		}, {
			name: "held, taken over", requests: []request{send, meanwhile}, speaks: true, workers: 2, park: 30,
			budget: budget{gated: 1, expire: 1, crash: 1}, later: []request{cancel}, also: budget{throttle: 1},
		}, {
			name: "poison", requests: []request{send}, inline: 1, workers: 2, couriers: 1,
			budget: budget{poison: 7, duplicate: 1, crash: 1}, later: []request{meanwhile}, also: budget{outage: 1},
		}, {
			name: "suspect", requests: []request{send, cancel}, workers: 2, rules: small(),
			budget: budget{poison: 3, expire: 1, lost: 1, outage: 1}, later: []request{meanwhile},
		}, {
			name: "suspect, apart", requests: []request{send}, workers: 2, rules: small(),
			budget: budget{poison: 4, busy: 1, minute: 1, lost: 1}, later: []request{cancel}, also: budget{duplicate: 1},
		}, {
			name: "innocent", requests: []request{send}, workers: 2,
			budget: budget{crash: 5, duplicate: 1, minute: 1}, later: []request{cancel}, also: budget{busy: 1},
		}, {
			name: "errors", requests: []request{send, cancel}, workers: 2,
			budget: budget{breaks: 6, lost: 1}, later: []request{meanwhile}, also: budget{duplicate: 1, crash: 1},
		}, {
			name: "too old", requests: []request{send, answer}, asks: true, fails: true, patient: true, workers: 2,
			park: 25 * 3600, budget: budget{throttle: 1, crash: 1, expire: 1}, also: budget{crash: 1, queueLoss: 1},
		}, {
			name: "deleted", requests: []request{send, send, del}, inline: 1, speaks: true, workers: 2, couriers: 1,
			budget: budget{lost: 1, crash: 1},
		}, {
			name: "deleted while it asks", requests: []request{send, answer, cancel, del}, asks: true, inline: 1, workers: 1, couriers: 1,
			budget: budget{lost: 1, restart: 1}, also: budget{outage: 1},
		}, {
			name: "local restarts", requests: []request{send, answer}, asks: true, inline: 1, workers: 2, couriers: 1,
			park: 30, budget: budget{restart: 2, throttle: 1, refuse: 1}, later: []request{cancel}, also: budget{lost: 1},
		},
	}
}
