// Languages → experts.
import { expect, test } from 'vitest';
import { familyMap, randomFamilyMap } from '../../routing/family.ts';
import { UserError } from '../../src/errors.ts';

const language = (code: string, family: string, expert: number) => ({ code, name: code.toUpperCase(), family, expert });
const families = [
  language('de', 'Germanic', 1),
  language('zh', 'Sinitic', 0),
  language('en', 'Germanic', 1),
  language('fr', 'Romance', 2),
  language('es', 'Romance', 2),
  language('it', 'Romance', 2),
];

test('experts are named by the family they serve', () => {
  expect(familyMap(families)).toEqual({
    numExperts: 3,
    languageExpert: Int32Array.of(1, 0, 1, 2, 2, 2),
    expertNames: ['Sinitic', 'Germanic', 'Romance'],
  });
});

test('a family with several experts names them by language; families that share one are joined', () => {
  const own = [language('de', 'Germanic', 0), language('en', 'Germanic', 1), language('zh', 'Sinitic', 2)];
  expect(familyMap(own).expertNames).toEqual(['DE', 'EN', 'Sinitic']);
  const joined = [language('ar', 'Semitic', 0), language('ha', 'Chadic', 0)];
  expect(familyMap(joined).expertNames).toEqual(['Semitic + Chadic']);
});

test('holes, fractions and an empty list are refused in one sentence', () => {
  expect(() => familyMap([language('de', 'G', 0), language('zh', 'S', 2)])).toThrow(UserError);
  expect(() => familyMap([language('de', 'G', 0), language('zh', 'S', 2)])).toThrow(/^Expert 1 serves no language/);
  expect(() => familyMap([language('de', 'G', 0.5)])).toThrow(/^Language de has expert id 0.5/);
  expect(() => familyMap([])).toThrow(/lists no language/);
});

test('the random control keeps group sizes, depends on the seed alone, and does shuffle', () => {
  const fifty = Array.from({ length: 50 }, (_, i) => language(`l${i}`, `f${i % 7}`, i % 7));
  const sizes = (map: Int32Array) => Array.from({ length: 7 }, (_, e) => map.filter(id => id === e).length);
  const first = randomFamilyMap(fifty, 1);
  expect(first.numExperts).toBe(7);
  expect(sizes(first.languageExpert)).toEqual(sizes(familyMap(fifty).languageExpert));
  expect(randomFamilyMap(fifty, 1).languageExpert).toEqual(first.languageExpert);
  expect(randomFamilyMap(fifty, 2).languageExpert).not.toEqual(first.languageExpert);
  expect(first.languageExpert).not.toEqual(familyMap(fifty).languageExpert);
});
