import importlib.util
import os
import unittest

# By file: the package beside it needs Odoo.
_PATH = os.path.join(os.path.dirname(__file__), "../waybill_probe/update/statements.py")
_spec = importlib.util.spec_from_file_location("statements", _PATH)
statements = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(statements)


class EndsTransaction(unittest.TestCase):
    def test_it_does(self):
        for query in (
            "COMMIT", " commit;", b"COMMIT", "END", "ABORT", "BEGIN", "START TRANSACTION", "ROLLBACK", "rollback work",
            "ROLLBACK AND CHAIN", "PREPARE TRANSACTION 'x'", "/* batch */ COMMIT", "-- x\nCOMMIT",
            "UPDATE a SET b = 'x;y'; COMMIT", "DO $$ BEGIN END $$; COMMIT", "SELECT 1;/**/commit",
        ):  # fmt: skip
            self.assertTrue(statements.ends_transaction(query), query)

    def test_it_does_not(self):
        for query in (
            "SELECT 1", "ROLLBACK TO SAVEPOINT a", "rollback work to a", 'ROLLBACK TO SAVEPOINT "b"', "SAVEPOINT commit",
            "UPDATE a SET state = 'x; COMMIT'", "DO $$ BEGIN PERFORM 1; END; $$", "SELECT $f$ ; commit $f$",
            'SELECT "a; commit"', "SELECT 1 -- ; COMMIT", "SELECT CASE WHEN a THEN b END FROM c", "PREPARE x AS SELECT 1",
            "SELECT commitment; SELECT ending", None, 5,
        ):  # fmt: skip
            self.assertFalse(statements.ends_transaction(query), query)


if __name__ == "__main__":
    unittest.main()
