-- Amounts are whole minor units. `key` is a name without its spelling: lower case, single spaces.
CREATE TABLE vendors (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  credit_limit INTEGER, version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE bills (
  id INTEGER PRIMARY KEY, vendor INTEGER NOT NULL REFERENCES vendors, key TEXT NOT NULL,
  number TEXT NOT NULL, currency TEXT NOT NULL,
  total INTEGER,            -- unknown where all we saw of it was an instalment
  booked INTEGER NOT NULL,  -- 1: it stands in payables; 0: known from its payment only
  UNIQUE (vendor, key)
) STRICT;
CREATE TABLE payments (
  id INTEGER PRIMARY KEY, bill INTEGER NOT NULL REFERENCES bills, instalment TEXT NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0), currency TEXT NOT NULL,
  paid_on TEXT NOT NULL, terms TEXT NOT NULL, credited INTEGER NOT NULL DEFAULT 0
) STRICT;
-- The same part of a bill is paid once, unless it was credited since.
CREATE UNIQUE INDEX payment_once ON payments (bill, instalment) WHERE credited = 0;
CREATE TABLE credit_memos (
  id INTEGER PRIMARY KEY, payment INTEGER NOT NULL UNIQUE REFERENCES payments,
  amount INTEGER NOT NULL CHECK (amount > 0), currency TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE purchase_orders (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, number TEXT NOT NULL,
  vendor INTEGER NOT NULL REFERENCES vendors, item TEXT NOT NULL, quantity INTEGER NOT NULL,
  delivery_date TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount > 0), currency TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'cancelled')), version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
  credit_limit INTEGER, version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE customer_parts (
  customer INTEGER NOT NULL REFERENCES customers, part TEXT NOT NULL,
  state TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (customer, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE sales_orders (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, number TEXT NOT NULL,
  customer INTEGER NOT NULL REFERENCES customers, delivery_date TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE sales_lines (
  id INTEGER PRIMARY KEY, sales_order INTEGER NOT NULL REFERENCES sales_orders,
  number INTEGER NOT NULL, sku TEXT NOT NULL, description TEXT NOT NULL, quantity INTEGER NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0), currency TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'cancelled'))
) STRICT;
CREATE INDEX order_of_customer ON sales_orders (customer);
CREATE INDEX line_of_order ON sales_lines (sales_order);
-- A cancelled line stays to be seen; its number may be taken again.
CREATE UNIQUE INDEX line_open_once ON sales_lines (sales_order, number) WHERE state = 'open';
CREATE TABLE contracts (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, number TEXT NOT NULL, customer TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE periods (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
  version INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE entries (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, contract INTEGER REFERENCES contracts,
  period INTEGER REFERENCES periods, amount INTEGER NOT NULL, currency TEXT NOT NULL,
  reverses INTEGER UNIQUE REFERENCES entries, reversed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX recognised_once ON entries (contract, period, amount, currency)
  WHERE kind = 'recognition' AND reversed = 0;
CREATE INDEX entry_of_contract ON entries (contract) WHERE contract IS NOT NULL;
CREATE INDEX entry_of_period ON entries (period) WHERE period IS NOT NULL;
CREATE TABLE lines (
  id INTEGER PRIMARY KEY, entry INTEGER NOT NULL REFERENCES entries, account TEXT NOT NULL,
  debit INTEGER NOT NULL CHECK (debit >= 0), credit INTEGER NOT NULL CHECK (credit >= 0),
  currency TEXT NOT NULL, vendor INTEGER REFERENCES vendors, CHECK ((debit = 0) <> (credit = 0))
) STRICT;
CREATE INDEX line_of_entry ON lines (entry);
CREATE INDEX line_of_vendor ON lines (vendor, account);
-- What each account comes to, kept beside the lines so that asking costs nothing.
CREATE TABLE balances (
  account TEXT NOT NULL, vendor INTEGER NOT NULL, currency TEXT NOT NULL,  -- vendor 0: nobody's
  debit INTEGER NOT NULL, credit INTEGER NOT NULL, moves INTEGER NOT NULL,
  PRIMARY KEY (account, vendor, currency)
) STRICT, WITHOUT ROWID;
CREATE TABLE operations (
  id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, method TEXT NOT NULL, path TEXT NOT NULL,
  digest TEXT NOT NULL, reference TEXT NOT NULL, answer TEXT NOT NULL,
  at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
