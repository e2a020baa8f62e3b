// Chat templates: what the transformers library renders (tests/golden/chat), and what is refused.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { type ChatMessage, openChat } from '../../src/data/chat.ts';
import { loadTokenizer } from '../../src/data/tokenizer/index.ts';
import { UserError } from '../../src/errors.ts';

const GOLDEN = join(import.meta.dirname, '..', 'golden');
interface Case {
  conversation: string;
  add_generation_prompt: boolean;
  text?: string;
  ids?: number[];
  refused?: string;
}
interface Golden {
  now: string;
  conversations: Record<string, ChatMessage[]>;
  templates: Record<string, { tokenizer: string; cases: Case[] }>;
}
const golden: Golden = JSON.parse(readFileSync(join(GOLDEN, 'chat', 'chat.json'), 'utf8'));
const now = new Date(golden.now);

describe.each(Object.entries(golden.templates))('%s', (name, { tokenizer, cases }) => {
  const render = openChat(join(GOLDEN, 'chat', name));
  const { encode } = loadTokenizer(join(GOLDEN, 'tokenizer', 'kinds', `${tokenizer}.json`));

  test.each(cases.map(one => [`${one.conversation}, ${one.add_generation_prompt ? 'open' : 'closed'}`, one] as const))(
    '%s',
    (_, { conversation, add_generation_prompt, text, ids, refused }) => {
      const run = () => render(golden.conversations[conversation], { addGenerationPrompt: add_generation_prompt, now });
      if (refused !== undefined) {
        expect(run).toThrow(UserError);
        expect(run).toThrow(refused);
        return;
      }
      expect(run()).toBe(text);
      expect(Array.from(encode(run()))).toEqual(ids);
    },
  );
});

test('the golden has texts of each template, dates, and a conversation that one refuses', () => {
  const texts = Object.values(golden.templates).map(
    ({ cases }) => cases.filter(({ text }) => text !== undefined).length,
  );
  expect(texts).toEqual([20, 20, 18]);
  expect(golden.templates.headers.cases[0].text).toContain('05 Jul 2026');
});

describe('a folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'moe-chat-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const save = (name: string, content: unknown) =>
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  beforeEach(() => {
    for (const name of ['tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja'])
      rmSync(join(folder, name), { force: true });
  });
  const ask = (): string => openChat(folder)([{ role: 'user', content: 'q' }], { addGenerationPrompt: true, now });

  test('its own file comes before tokenizer_config.json, and special tokens may be in a file of theirs', () => {
    save(
      'chat_template.jinja',
      '{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token is defined }} {{ range(3) | length }} {{ range(5, 1, -2) | last }} {{ tools is none and documents is none }}',
    );
    save('tokenizer_config.json', { chat_template: 'no', eos_token: { content: '</s>' }, bos_token: null });
    save('special_tokens_map.json', { bos_token: '<s>', eos_token: '<old>' });
    expect(ask()).toBe('<s>q</s>false 3 3 true');
  });

  test('dates are English and complete', () => {
    save('chat_template.jinja', "{{ strftime_now('%A %a %d %B %b %m %Y %y %H:%M:%S 100%% %q') }}");
    expect(ask()).toBe('Sunday Sun 05 July Jul 07 2026 26 09:03:00 100% %q');
  });

  test.each([
    [
      'without a template',
      {},
      /has no chat template \(chat_template\.jinja, or chat_template in tokenizer_config\.json\)/,
    ],
    [
      'with templates of which none is the default',
      { chat_template: [{ name: 'rag', template: '' }] },
      /no chat template/,
    ],
    [
      'whose template does not parse',
      { chat_template: '{% if %}' },
      /tokenizer_config\.json has a chat template that cannot/,
    ],
    [
      'whose template asks for what is not there',
      { chat_template: '{{ nothing() }}' },
      /refuses these messages \(.+\)\.$/,
    ],
    [
      'whose template refuses',
      { chat_template: "{{ raise_exception('not\nso') }}" },
      /refuses these messages \(not so\)\.$/,
    ],
    ['whose configuration is not JSON', '{', /tokenizer_config\.json is not valid JSON/],
    ['whose configuration is a list', [], /tokenizer_config\.json is not a JSON object/],
  ])('%s is refused in one sentence', (_, config, message) => {
    save('tokenizer_config.json', config);
    expect(ask).toThrow(UserError);
    expect(ask).toThrow(message);
    expect(ask).toThrow(folder);
  });

  test('without anything is refused', () => {
    expect(ask).toThrow(/has no chat template/);
  });
});
