-- Who reported a revision; 'attribution' changes nothing of the record, only whose it is.

ALTER TABLE fills
    DROP CONSTRAINT ck_fills_source,
    ADD CONSTRAINT ck_fills_source CHECK (source IN ('submit', 'resolve', 'feed', 'attribution'));
